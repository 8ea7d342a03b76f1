"""Keys at rest: private files, the passphrase keystore, root keys, KEKs, identities, spoken fingerprints.

A client's or a contractor's process loads this room, a vendor's never does. May import: `labelvault.wire`,
`labelvault.crypto`, `labelvault.errors`.
"""

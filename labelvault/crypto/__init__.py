"""The one door to primitives: the only room that imports `cryptography` and `nacl`.

Other rooms speak of DEKs, wraps, signatures and seals, and import the module they need (`crypto.verify` alone
is what a vendor's process may load). May import: `labelvault.errors`.
"""

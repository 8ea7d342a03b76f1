"""What actors say to each other: canonical bytes, signed frames, message models.

Transport-agnostic and pure: values in, values out. May import: `labelvault.errors`, `labelvault.crypto.verify`,
`labelvault.crypto.hashing`.
"""

"""The append-only record of everything that was ever released: tree, checkpoints, entries, exposure, export.

Pure core: values in, values out. Storage reaches the tree as a function that reads nodes. May import:
`labelvault.wire`, `labelvault.crypto`, `labelvault.errors`.
"""

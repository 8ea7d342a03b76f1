"""A holder for secret bytes that doesn't show them by accident."""

import hmac
from typing import NoReturn


class SecretBytes:
    """Secret bytes without repr, equality, hash, copy or pickle.

    Guarantees that printing, logging, formatting, pickling or copying the holder reveals nothing. It does
    not, and in Python can't, guarantee that memory is wiped: a process that exits does that.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes; call it at the one place of use and keep no second name for the result."""
        return self.__value

    def matches(self, other: bytes) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.__value, other)

    def __len__(self) -> int:
        return len(self.__value)

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("secrets are compared with matches()")

    def __hash__(self) -> NoReturn:
        raise TypeError("secrets are not hashed")

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled or copied")

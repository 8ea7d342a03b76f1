"""Addresses of vaults over HTTP: what is one, and which lie on this machine."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from labelvault.errors import RelayError

_HOST: Final = re.compile(r"[A-Za-z0-9.:_-]{1,253}", re.ASCII)
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?", re.ASCII)


def parse_address(address: str) -> str:
    """Check a vault's address and return it without a trailing slash.

    Raises:
        RelayError: not an http(s) address with a host and at most port and path, or plain HTTP to another machine.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise RelayError("the vault's address is malformed") from error
    netloc = f"[{host}]" if ":" in host else host
    netloc += "" if port is None else f":{port}"
    if (
        parts.scheme not in ("http", "https")
        or not _HOST.fullmatch(host)
        or not _PATH.fullmatch(parts.path)
        or address.lower() != f"{parts.scheme}://{netloc}{parts.path}".lower()
        or any(part in (".", "..") for part in parts.path.split("/"))
    ):
        raise RelayError("a vault's address over HTTP is https://host[:port][/path], and nothing besides")
    if parts.scheme == "http" and not is_loopback(host):
        raise RelayError("plain http:// reaches a vault on this machine only; use https://")
    return address.rstrip("/")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1. Asks no resolver."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"

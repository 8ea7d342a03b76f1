"""How actors reach the vault: items and mailboxes, and nothing that opens them.

Clients and contractors hold a `Relay` and never a store. May import: `labelvault.errors`, `labelvault.wire`,
`labelvault.stores`.
"""

from labelvault.errors import RelayError, StoreError
from labelvault.relay.local import LocalRelay
from labelvault.relay.protocol import ItemPart, Relay, Reply, StoredItem
from labelvault.stores import open_store

__all__ = ["ItemPart", "LocalRelay", "Relay", "Reply", "StoredItem", "open_relay"]


def open_relay(address: str, *, token: str | None = None) -> Relay:
    """Reach the vault at an address.

    Never creates one: an address comes from elsewhere (an invite, say), and a file made at a path of someone
    else's choosing would be a foothold, besides hiding a mistyped address. `labelvault.vendor.Vault.open`
    creates.

    Args:
        address: `sqlite:////absolute/path` or `sqlite:///relative/path`; with the extra `service` also
            `https://host[:port][/path]`, and `http://` where the host is this machine. Nothing is sent yet.
        token: what an HTTP vault knows us by; other kinds need none.

    Raises:
        RelayError: no vault is there, or the address is of no known kind.
    """
    if address.partition(":")[0].lower() in ("http", "https"):
        try:
            from labelvault.relay.http import HttpRelay
        except ModuleNotFoundError as error:
            raise RelayError(
                "a vault over HTTP needs the extra `service`", next_step="Run: pip install 'labelvault[service]'"
            ) from error
        return HttpRelay(address, token=token)
    try:
        return LocalRelay(open_store(address, create=False))
    except StoreError as error:
        raise RelayError(
            f"no vault can be reached at this address: {error}",
            next_step=error.next_step or "Check the address, and that the vendor has made the vault there.",
        ) from error

"""Where urgent events are posted to: one address, out of a file, since an address with a token in it is a secret.

Needs httpx, from the extra `service`. No redirects, cookies, proxies or environment; certificates are always checked.
What is sent holds ids only; what is answered is not read.
"""

import json
import re
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from labelvault.client import Event
from labelvault.errors import OutputError
from labelvault.keys.files import read_private
from labelvault.relay.http_address import is_loopback

_MAX_FILE_BYTES: Final = 4096
_ADDRESS: Final = re.compile(r"https?://[!-~]{1,2048}", re.ASCII)
_STEP_S: Final = 5.0
_WHOLE_S: Final = 8.0


class Webhook:
    """Posts events as `{"events": [...]}`, in bounded time. Its address is in no message, and not in its repr."""

    def __init__(self, file: Path) -> None:
        """Read the address.

        Args:
            file: holds it as its one line; nobody else can read it.

        Raises:
            click.UsageError: it does not, or httpx is missing.
            KeystoreError: it can't be read.
        """
        self._address = _read(file)
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise click.UsageError("--webhook-file needs the extra: pip install 'labelvault[service]'") from error
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        self._errors: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError)
        self._context, self._client = context, httpx.Client

    def post(self, events: Sequence[Event]) -> None:
        """Deliver events.

        Raises:
            OutputError: nobody took them with a status of 2xx within eight seconds.
        """
        body = json.dumps({"events": [event.flat() for event in events]}).encode()
        outcome: list[str] = []
        # A thread, because a server that trickles its answer resets every timeout of a single step.
        sender = threading.Thread(target=self._send, args=(body, outcome), name="webhook", daemon=True)
        sender.start()
        sender.join(_WHOLE_S)
        fault = outcome[0] if outcome else "no answer in time"
        if fault:
            raise OutputError(f"the webhook did not take {len(events)} events: {fault}; it is tried again")

    def _send(self, body: bytes, outcome: list[str]) -> None:
        """Note what went wrong, in words without the address; an empty text if all is well."""
        headers = {"content-type": "application/json", "user-agent": "labelvault"}
        try:
            with (
                self._client(verify=self._context, trust_env=False, timeout=_STEP_S) as client,
                client.stream("POST", self._address, content=body, headers=headers) as answer,
            ):
                outcome.append("" if answer.is_success else f"status {answer.status_code}")
        except self._errors as error:
            outcome.append(type(error).__name__)


def _read(file: Path) -> str:
    data = read_private(file, _MAX_FILE_BYTES)
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise click.UsageError(f"{file} can be read by others; chmod 600 it")
    wrong = click.UsageError(f"{file} must hold one line: https://..., or http:// on this machine")
    try:
        address = data.decode("ascii").strip()
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        # `from None`: the original error holds the bytes.
        raise wrong from None
    if not _ADDRESS.fullmatch(address) or not host or "@" in parts.netloc or parts.fragment:
        raise wrong
    if parts.scheme == "http" and not is_loopback(host):
        raise wrong
    return address

"""`labelvault vendor serve`: the vault over HTTP, for a platform that does not mount it in its own application."""

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from labelvault.cli.homes import read_address
from labelvault.cli.options import examples, home_option, json_option
from labelvault.cli.output import Output
from labelvault.cli.signals import Ending, told_to_end
from labelvault.relay.http_address import is_loopback
from labelvault.vendor import Vault
from labelvault.vendor.http_tokens import read_tokens

_CONNECTIONS: Final = 1024
_KEEP_ALIVE_S: Final = 30
_END_S: Final = 5
_EXAMPLES: Final = examples(
    "labelvault vendor serve",
    "labelvault vendor serve --behind-proxy --token-file tokens",
    "labelvault vendor serve --host 0.0.0.0 --port 443 \\\n"
    "    --token-file tokens --tls-cert chain.pem --tls-key key.pem",
)
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=_EXAMPLES)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option(
    "--token-file", "token_files", type=_FILE, multiple=True, metavar="FILE", help="name:token[:binding]; 0600."
)
@click.option(
    "--platform-token-file",
    "platform_files",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="The same, for queues and claims; without it they are not served.",
)
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="PEM certificate chain.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="PEM private key; 0600.")
@click.option("--behind-proxy", is_flag=True, help="TLS ends at a proxy in front of this; it listens for plain HTTP.")
@click.option("--log", is_flag=True, help="One line for each request on stderr: when, what, who, status, time taken.")
@home_option("vendor")
@click.option("--vault", metavar="URL", help="The vault, instead of the one that init stored in the home.")
@json_option
def serve(
    host: str,
    port: int,
    token_files: Sequence[Path],
    platform_files: Sequence[Path],
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    log: bool,
    home: Path,
    vault: str | None,
    out: Output,
) -> None:
    """Serve the vault over HTTP until Ctrl-C or SIGTERM.

    Clients and contractors put their token into vault.token in their homes.
    A token file has lines name:token:client=CLIENT and
    name:token:contractor=CLIENT/KEY, which bind a token to its holder.
    """
    with_tls = _check_listening(host, token_files, tls_cert, tls_key, behind_proxy)
    tokens, platform = read_tokens(token_files), read_tokens(platform_files)
    if token_files and not tokens:
        raise click.UsageError("the token files hold no token")
    if platform_files and not platform:
        raise click.UsageError("the platform's token files hold no token")
    if platform.unbound < len(platform):
        raise click.UsageError("a token that is bound to a client or contractor can't be the platform's")
    try:
        from labelvault.vendor.http import HttpService
    except ModuleNotFoundError as error:
        raise click.UsageError("serving needs the extra: pip install 'labelvault[service]'") from error
    with Vault.open(vault or read_address(home)) as opened, told_to_end() as ending:
        service = HttpService(
            opened, tokens if token_files else _anybody_here, platform=platform if platform_files else None
        )
        listening = _listen(host, port)
        address = f"{'https' if with_tls else 'http'}://{_netloc(listening)}"
        if not token_files:
            out.warn("no tokens: every user and program of this machine can use the vault")
        if tokens.unbound:
            out.warn(
                f"bound to no client or contractor, so they may use all items and mailboxes: {tokens.unbound} tokens"
            )
        if log:
            _log_requests()
        out.note("Serving; Ctrl-C ends.")
        out.result({"listening": address, "pid": os.getpid()}, address)
        asyncio.run(_serve(service, listening, ending, tls_cert, tls_key))
    out.note("Ended.")


def _log_requests() -> None:
    """Let the service's own lines through: operation, caller's name, status and time, and no path, id or address."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    requests = logging.getLogger("labelvault.vendor.http")
    requests.addHandler(handler)
    requests.setLevel(logging.INFO)


def _check_listening(
    host: str, token_files: Sequence[Path], tls_cert: Path | None, tls_key: Path | None, behind_proxy: bool
) -> bool:
    """Refuse to serve strangers, or tokens over a line that is open to read; return whether TLS is served."""
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    if tls_key is not None and stat.S_IMODE(tls_key.stat().st_mode) & 0o077:
        raise click.UsageError(f"{tls_key} can be read by others; chmod 600 it")
    if not token_files and (behind_proxy or not is_loopback(host)):
        raise click.UsageError("whoever reaches this could use the vault: give --token-file FILE")
    if tls_cert is None and not behind_proxy and not is_loopback(host):
        raise click.UsageError("tokens would travel in the clear: give --tls-cert and --tls-key, or --behind-proxy")
    return tls_cert is not None


def _anybody_here(headers: Mapping[str, str]) -> str | None:
    """Take whoever names this machine as the host: a page of elsewhere, rebound to this address, does not."""
    host = headers.get("host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    return "local" if is_loopback(name) else None


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        # Connections inherit it. asyncio sets it for sockets that it made itself only, and without it each answer waits
        # 40 ms for an acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise click.UsageError(f"can't listen on {host} port {port}: {error.strerror}") from error


def _netloc(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _serve(
    service: Any, listening: socket.socket, ending: Ending, tls_cert: Path | None, tls_key: Path | None
) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Ends when told so, and first lets go of all who wait for messages or send a stream."""

        async def on_tick(self, counter: int) -> bool:
            return await super().on_tick(counter) or ending.asked

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            service.end()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        service.app,
        http="h11",
        ws="none",
        lifespan="off",
        # No configuration of the root logger, no line with a path that somebody else chose, no name of the software.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_END_S,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )
    await Server(config).serve(sockets=[listening])

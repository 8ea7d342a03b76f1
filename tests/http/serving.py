"""HTTP servers for tests: on loopback, in a thread of this process, ended when the block ends."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

from labelvault.vendor import Vault
from labelvault.vendor.http import HttpService
from labelvault.vendor.http_limits import HttpLimits
from labelvault.vendor.http_tokens import Tokens

TOKEN = "client-token-of-the-tests"
OTHER_TOKEN = "another-token-of-the-tests"
PLATFORM_TOKEN = "platform-token-of-the-tests"
TOKENS = Tokens([f"client:{TOKEN}", f"ada:{OTHER_TOKEN}"])
PLATFORM = Tokens([f"platform:{PLATFORM_TOKEN}"])
QUICK = HttpLimits(requests_per_s=1e6, burst=10**6)


class _Server(uvicorn.Server):
    """Looks ten times as often whether it is to end."""

    async def main_loop(self):
        import asyncio

        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(0.01)

    async def _wait_tasks_to_complete(self):
        for connection in list(self.server_state.connections):
            connection.transport.close()
        await super()._wait_tasks_to_complete()


@contextlib.contextmanager
def serving(app, host="127.0.0.1", **options) -> Iterator[str]:
    """Run an ASGI application; give its address."""
    listening = socket.create_server((host, 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        **options,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    try:
        scheme = "https" if options.get("ssl_certfile") else "http"
        yield f"{scheme}://{host}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def serving_vault(vault: Vault, *, limits=QUICK, authenticate=TOKENS, platform=PLATFORM) -> Iterator[str]:
    """Run a vault's service; give its address."""
    with serving(HttpService(vault, authenticate, platform=platform, limits=limits).app) as address:
        yield address


@contextlib.contextmanager
def raw_server(*answers: bytes, host="127.0.0.1", hold=False) -> Iterator[tuple[str, list[bytes]]]:
    """Answer each connection with bytes as they are, the last ones over and over; give address and what was sent."""
    listening = socket.create_server((host, 0))
    listening.settimeout(0.02)
    over = threading.Event()
    requests: list[bytes] = []
    held: list[socket.socket] = []

    def serve() -> None:
        count = 0
        while not over.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            connection.settimeout(1)
            with contextlib.suppress(OSError):
                requests.append(connection.recv(65536))
                connection.sendall(answers[min(count, len(answers) - 1)])
            count += 1
            if hold:
                held.append(connection)
            else:
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://{host}:{listening.getsockname()[1]}", requests
    finally:
        over.set()
        thread.join()
        listening.close()
        for each in held:
            each.close()

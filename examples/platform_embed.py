"""A labeling platform that embeds the vault in a FastAPI application: queues, claims and pay, without reading a word.

    python platform_embed.py serve  VAULT TOKENS [--port PORT]
    python platform_embed.py queues VAULT
    python platform_embed.py claim  VAULT CONTRACTOR
    python platform_embed.py pay    VAULT

VAULT is an address such as sqlite:////srv/vault/vault.db; it is created on first run. TOKENS is a file of bearer tokens
(docs/http.md): the client's and the contractors' are bound to them, and one that is not bound is the office's own.
`serve` listens on this machine only; TLS ends at a proxy in front of it. It needs
`pip install 'labelvault[service,examples]'`. Nothing that this process imports can open an item: there is no key here
that a thief could take.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response

from labelvault.errors import LabelVaultError, NotFoundError
from labelvault.stores.values import Claim
from labelvault.vendor import Vault
from labelvault.vendor.http_callers import Caller
from labelvault.vendor.http_tokens import Tokens, read_tokens

CLAIM_TTL_S = 900


def claim_next(vault: Vault, contractor: str) -> Claim | None:
    """Reserve the next task of any queue; with a contractor's key as its name, its signed receipt finishes the task."""
    for queue in vault.queues():
        reserved = vault.claim(queue, contractor, ttl_s=CLAIM_TTL_S)
        if reserved is not None:
            return reserved
    return None


def earned(vault: Vault) -> dict[str, dict[str, int]]:
    """Count, for each client, what is to be paid: once for each contractor key and item, from answers that it accepted.

    Its issuer says so in signed acks, which hold no content. Whoever can post could be a client with contractors of his
    own: pay by the counts of clients that you know, and bill each for its own.
    """
    accepted = {
        (ack.client, ack.contractor, ack.item)
        for ack in vault.acks()
        if (ack.event, ack.verdict) == ("answer", "accepted")
    }
    counts: dict[str, dict[str, int]] = {}
    for (client, contractor), count in Counter((client, contractor) for client, contractor, _ in accepted).items():
        counts.setdefault(client.hex(), {})[contractor.hex()] = count
    return counts


def create_app(vault: Vault, tokens: Tokens) -> FastAPI:
    """Make the platform's application; at /lv it serves the vault to clients, issuers and contractors.

    The platform's own sign-in would stand in place of `tokens`. Endpoints are plain functions, since the vault's
    methods block: FastAPI runs them in threads.
    """
    # A platform keeps this in its own database.
    claimed: dict[str, str] = {}

    def signed_in(request: Request) -> Caller:
        found = tokens(request.headers)
        if found is None:
            raise HTTPException(401, "no valid token", {"WWW-Authenticate": "Bearer"})
        return found if isinstance(found, Caller) else Caller(found)

    def contractor(caller: Annotated[Caller, Depends(signed_in)]) -> str:
        if caller.contractor is None:
            raise HTTPException(403, "contractors only")
        return caller.contractor.hex()

    def office(caller: Annotated[Caller, Depends(signed_in)]) -> None:
        if caller.is_bound:
            raise HTTPException(403, "the platform's own people only")

    # The interactive documentation would load scripts from elsewhere.
    app = FastAPI(title="A labeling platform", docs_url=None, redoc_url=None)

    @app.get("/queues")
    def queues(caller: Annotated[Caller, Depends(signed_in)]) -> list[dict[str, str | int]]:
        """List queues: opaque ids and counts are all that a platform needs to schedule."""
        return [
            {"queue": each.id.hex(), "waiting": each.waiting, "claimed": each.claimed, "done": each.done}
            for each in vault.queues()
            if caller.may_read(each.client)
        ]

    @app.post("/claims/next")
    def next_task(key: Annotated[str, Depends(contractor)]) -> dict[str, str] | None:
        """Claim the next task for whoever asks; null if none is waiting. The decrypt helper opens `item`."""
        reserved = claim_next(vault, key)
        if reserved is None:
            return None
        claimed[reserved.id.hex()] = key
        return {"claim": reserved.id.hex(), "item": reserved.item.hex(), "expires_at": reserved.expires_at.isoformat()}

    @app.post("/claims/{claim}/finish", status_code=204)
    def finish(claim: str, key: Annotated[str, Depends(contractor)]) -> Response:
        """Mark one's own task as done."""
        if claimed.get(claim) != key:
            raise HTTPException(404, "no such claim of yours")
        try:
            vault.finish(claim)
        except NotFoundError:
            raise HTTPException(409, "somebody else has claimed it since") from None
        return Response(status_code=204)

    @app.get("/pay", dependencies=[Depends(office)])
    def pay() -> dict[str, dict[str, int]]:
        """Say how many tasks each contractor key has earned with each client."""
        return earned(vault)

    def bound(headers: Mapping[str, str]) -> Caller | None:
        found = tokens(headers)
        return found if isinstance(found, Caller) else None

    app.mount("/lv", vault.asgi(authenticate=bound))
    return app


def serve(vault: Vault, tokens: Path, port: int) -> None:
    """Serve the platform on this machine until Ctrl-C."""
    uvicorn.run(
        create_app(vault, read_tokens([tokens])),
        host="127.0.0.1",
        port=port,
        http="h11",
        ws="none",
        server_header=False,
    )


def main(arguments: list[str]) -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("serve", "queues", "claim", "pay"):
        commands.add_parser(name).add_argument("vault")
    commands.choices["claim"].add_argument("contractor")
    commands.choices["serve"].add_argument("tokens", type=Path)
    commands.choices["serve"].add_argument("--port", type=int, default=8000)
    if not arguments:
        sys.exit(__doc__)
    asked = parser.parse_args(arguments)
    with Vault.open(asked.vault) as vault:
        match asked.command:
            case "serve":
                serve(vault, asked.tokens, asked.port)
            case "queues":
                for queue in vault.queues():
                    print(f"{queue.id.hex()}  {queue.waiting} waiting, {queue.claimed} claimed, {queue.done} done")
            case "claim":
                reserved = claim_next(vault, asked.contractor)
                print(reserved.item.hex() if reserved is not None else sys.exit("no task is waiting"))
            case "pay":
                for client, counts in earned(vault).items():
                    for contractor, count in counts.items():
                        print(f"client {client}: {contractor}  {count} tasks")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LabelVaultError as error:
        sys.exit(f"{type(error).__name__}: {error}")

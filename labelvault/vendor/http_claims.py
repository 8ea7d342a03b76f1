"""Queues and claims over HTTP, for a platform whose scheduler is another process than its vault (docs/http.md)."""

import asyncio
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from labelvault.errors import FormatError
from labelvault.stores.values import MAX_CLAIM_TTL_S, MAX_CONTRACTOR_ID_BYTES, Claim, Queue
from labelvault.vendor.http_body import Body
from labelvault.vendor.vault import Vault
from labelvault.wire.ids import KEY_ID_BYTES, parse_hex_id

_MAX_BODY_BYTES: Final = 4096
_BODY_S: Final = 10.0


class _ClaimRequest(BaseModel):
    """What is to be claimed; `client` and `project` as `queues` names them."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    queue: str = Field(max_length=64)
    client: str = Field(max_length=128)
    project: str = Field(max_length=64)
    contractor: str = Field(min_length=1, max_length=MAX_CONTRACTOR_ID_BYTES)
    ttl_s: int = Field(ge=1, le=MAX_CLAIM_TTL_S)


class ClaimRoutes:
    """The platform's endpoints."""

    def __init__(self, vault: Vault) -> None:
        """Serve a vault's queues."""
        self._vault = vault

    async def queues(self, request: Request) -> Response:
        """List queues with their counts."""
        found = await run_in_threadpool(self._vault.queues)
        return JSONResponse({"queues": [_queue_facts(each) for each in found]})

    async def claim(self, request: Request) -> Response:
        """Claim an open task; `{"claim": null}` if none is open."""
        async with asyncio.timeout(_BODY_S):
            body = await Body(request, _MAX_BODY_BYTES).whole()
        try:
            asked = _ClaimRequest.model_validate_json(body)
        except ValidationError:
            # `from None`: pydantic quotes what it was given.
            raise FormatError("a claim names queue, client, project, contractor and ttl_s") from None
        queue = Queue(
            parse_hex_id(asked.queue), parse_hex_id(asked.client, KEY_ID_BYTES), parse_hex_id(asked.project), 0, 0, 0
        )
        claim = await run_in_threadpool(self._vault.claim, queue, asked.contractor, ttl_s=asked.ttl_s)
        return JSONResponse({"claim": None if claim is None else _claim_facts(claim)})

    async def finish(self, request: Request) -> Response:
        """Mark a claimed task as done."""
        await run_in_threadpool(self._vault.finish, request.path_params["claim"])
        return Response(status_code=204)

    async def release(self, request: Request) -> Response:
        """Let others claim the task."""
        await run_in_threadpool(self._vault.release_claim, request.path_params["claim"])
        return Response(status_code=204)


def _queue_facts(queue: Queue) -> dict[str, Any]:
    return {
        "queue": queue.id.hex(),
        "client": queue.client.hex(),
        "project": queue.project.hex(),
        "waiting": queue.waiting,
        "claimed": queue.claimed,
        "done": queue.done,
    }


def _claim_facts(claim: Claim) -> dict[str, Any]:
    return {
        "claim": claim.id.hex(),
        "client": claim.client.hex(),
        "project": claim.project.hex(),
        "queue": claim.queue.hex(),
        "item": claim.item.hex(),
        "contractor": claim.contractor,
        "expires_at": claim.expires_at.isoformat(),
    }

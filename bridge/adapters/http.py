"""Health and metrics over HTTP: `/livez`, `/readyz`, `/metrics`."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, ClassVar

import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.core.errors import StartError
from bridge.core.events.process import HttpListening
from bridge.core.options import Within
from bridge.ports import Condition, Emit

_CLOSE_S = 1

Conditions = Callable[[], Sequence[Condition]]
_Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The section `http`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    host: str = "127.0.0.1"
    port: Annotated[int, Within(0, 65_535)] = 8080


@asynccontextmanager
async def serve(
    options: Options, *, alive: Conditions, conditions: Conditions, registry: CollectorRegistry, emit: Emit
) -> AsyncIterator[int]:
    """Serves until the block ends; the value is the port, which the event `http_listening` tells as well.

    `/livez` and `/readyz` name every condition, with 503 unless all of them are ready. Raises StartError where the
    address cannot be had.
    """
    listening = _listen(options)
    port: int = listening.getsockname()[1]
    routes = [
        Route("/livez", _state_of(alive)),
        Route("/readyz", _state_of(conditions)),
        Route("/metrics", _metrics_of(registry)),
    ]
    server = _Server(_config(Starlette(routes=routes)))
    # No TaskGroup: it would wrap what the block raises. The task ends here, with the block.
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        emit(HttpListening(host=options.host, port=port))
        yield port
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """A server in our own loop: the process, not the server, decides what a signal means."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_CLOSE_S,
    )


def _listen(options: Options) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StartError(
            f"cannot listen on {options.host}:{options.port}: {reason}",
            remedy="set http.host and http.port to a free address (port 0: any free one)",
        ) from error


def _state_of(conditions: Conditions) -> _Endpoint:
    # Async though it never waits: starlette runs a plain function in a thread, beside the loop that changes these.
    async def state(_request: Request) -> Response:
        found = conditions()
        is_ready = all(condition.is_ready for condition in found)
        body = orjson.dumps({"ready": is_ready, "conditions": list(found)})
        return Response(body, status_code=200 if is_ready else 503, media_type="application/json")

    return state


def _metrics_of(registry: CollectorRegistry) -> _Endpoint:
    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return metrics

"""An HTTP server on one address, with a control room for scripts, for as long as a block lasts."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from bridge.core.errors import StartError
from bridge.simulator.script import Script, decode_script

_GRACE_S = 1
_STOP_TIMEOUT_S = 5


class _Server(uvicorn.Server):
    """Without uvicorn's own signal handlers: a signal belongs to the process, which may run more than a simulator."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(
    app: ASGIApp, *, host: str, port: int, ws: Callable[..., asyncio.Protocol] | None = None
) -> AsyncIterator[str]:
    """Serves `app` and gives its base URL; port 0 is any free one. `ws` makes the protocol of each upgrade.

    Raises StartError if the address is not free.
    """
    with _listening(host, port) as listener:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none" if ws is None else cast("type[asyncio.Protocol]", ws),
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        server = _Server(config)
        # Not in a TaskGroup: that would cancel the server where the block fails, and a cancelled uvicorn leaves its
        # sockets open.
        running = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
        try:
            yield base_url_of(listener)
        finally:
            server.should_exit = True
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await running


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        # Listening before the server accepts: whoever connects early waits instead of being refused.
        listener = socket.create_server((host, port), backlog=128)
    except OSError as error:
        raise StartError(
            f"{host}:{port} cannot be listened on: {error.strerror}", remedy="give another port"
        ) from error
    with listener:
        yield listener


def base_url_of(listener: socket.socket) -> str:
    """`http://127.0.0.1:1234`."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def json_response(value: Any, *, status: int = 200, retry_after: str | None = None) -> Response:
    """A JSON answer."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def add_fault_route(app: Starlette, post: Callable[[Script], None]) -> None:
    """Adds `POST /simulator/faults`: one fault or an array of them, `at_s` seconds from now; 400 says what is wrong."""

    async def take(request: Request) -> Response:
        try:
            faults = decode_script(await request.body())
            post(faults)
        except ValueError as error:
            return json_response({"error": str(error)}, status=400)
        return json_response({"posted": [fault.name for fault in faults]})

    app.add_route("/simulator/faults", take, methods=["POST"])


def add_page(app: Starlette, path: str, show: Callable[[], Any]) -> None:
    """Adds a `GET` that answers what `show` returns, as JSON."""

    async def answer(_request: Request) -> Response:
        return json_response(show())

    app.add_route(path, answer, methods=["GET"])


def add_action(app: Starlette, path: str, act: Callable[[], Awaitable[Any]]) -> None:
    """Adds a `POST` without a body that does `act` and answers what it returns, as JSON."""

    async def answer(_request: Request) -> Response:
        return json_response(await act())

    app.add_route(path, answer, methods=["POST"])

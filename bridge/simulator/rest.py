"""The REST pages of the simulated Genesys: token, content libraries, and the quota of sockets."""

from collections.abc import Callable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from bridge.simulator.door import Door
from bridge.simulator.serving import json_response
from bridge.simulator.tokens import Tokens


class Library(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A content library; what is None is left out of the answer."""

    id: str
    name: str | None = None
    enabled: bool | None = None


LIBRARIES = (Library(id="library-1", name="Help articles", enabled=True),)


def genesys_pages(
    *, door: Door, tokens: Tokens, libraries: Sequence[Library], open_sockets: Callable[[], int]
) -> Starlette:
    """An application with the three pages."""

    async def token(request: Request) -> Response:
        refusal = await door.turned_away("token", request)
        if refusal is not None:
            return refusal
        status, body = tokens.answer(await request.body())
        return door.noted("token", json_response(body, status=status))

    async def content_libraries(request: Request) -> Response:
        refusal = await door.turned_away("libraries", request)
        return refusal or door.noted("libraries", json_response({"entities": libraries}))

    async def config(request: Request) -> Response:
        refusal = await door.turned_away("config", request)
        return refusal or door.noted("config", json_response({"activeWebSocketConnections": open_sockets()}))

    app = Starlette()
    app.add_route("/api/v2/oauth/token", token, methods=["POST"])
    app.add_route("/api/v2/agentassist/contentlibraries", content_libraries, methods=["GET"])
    app.add_route("/api/v2/agentassist/config", config, methods=["GET"])
    return app

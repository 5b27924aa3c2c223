"""What is asked over REST before a socket is opened: does the content library exist, is a connection left?"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx
import msgspec

from bridge.adapters.genesys.answers import Answer, Asking, FailedError, RefusedError, error_of
from bridge.adapters.genesys.options import Options, rest_url
from bridge.adapters.genesys.tokens import Tokens
from bridge.ports import Clock, Emit

_T = TypeVar("_T")


class _Library(msgspec.Struct):
    id: str
    enabled: bool = True


class _Libraries(msgspec.Struct):
    entities: list[_Library]


class _Config(msgspec.Struct, rename="camel"):
    active_web_socket_connections: int = msgspec.field(default=0, name="activeWebSocketConnections")


class Rest:
    """The preflight. Each call raises RefusedError for what only an operator can mend, else FailedError.

    A 401 renews the token and asks once more.
    """

    def __init__(self, options: Options, asking: Asking, tokens: Tokens, *, clock: Clock) -> None:
        self.tokens = tokens
        self._options = options
        self._asking = asking
        self._clock = clock

    async def check_library(self) -> None:
        """Returns if the content library exists and is enabled."""
        what = "the list of content libraries"
        answer = await self._get("/api/v2/agentassist/contentlibraries", what=what)
        wanted = self._options.content_library_id
        found = [library for library in _decoded(answer, _Libraries, what=what).entities if library.id == wanted]
        if not found:
            raise RefusedError(
                f"the content library {wanted} does not exist",
                remedy="check genesys.content_library_id, and that the library is published and assigned to the client",
                cause="library",
            )
        if not any(library.enabled for library in found):
            raise RefusedError(
                f"the content library {wanted} is disabled", remedy="enable it in Genesys", cause="library"
            )

    async def active_connections(self) -> int:
        """How many sockets the tenant has open, ours among them."""
        what = "the number of connections"
        answer = await self._get("/api/v2/agentassist/config", what=what)
        return _decoded(answer, _Config, what=what).active_web_socket_connections

    async def _get(self, path: str, *, what: str) -> Answer:
        url = rest_url(self._options, path)
        token = await self.tokens.token()
        answer = await self._asking.get(url, token=token.value, now_ms=self._clock())
        if answer.status == 401:
            token = await self.tokens.renew(token)
            answer = await self._asking.get(url, token=token.value, now_ms=self._clock())
        if answer.status != 200:
            raise error_of(answer.status, what=f"the request for {what}", retry_after_s=answer.retry_after_s)
        return answer


@asynccontextmanager
async def open_rest(options: Options, *, clock: Clock, emit: Emit) -> AsyncIterator[Rest]:
    """A `Rest` with its own HTTP connections, closed at the end."""
    # The system's certificates, as the socket uses them, and not a bundle of the library's own.
    async with httpx.AsyncClient(timeout=options.request_timeout_s, verify=ssl.create_default_context()) as client:
        asking = Asking(client, timeout_s=options.request_timeout_s, retry_after_max_s=options.retry_after_max_s)
        tokens = Tokens(options, asking, clock=clock, emit=emit)
        yield Rest(options, asking, tokens, clock=clock)


def _decoded(answer: Answer, shape: type[_T], *, what: str) -> _T:
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FailedError(f"the answer with {what} cannot be read", cause="unavailable") from error

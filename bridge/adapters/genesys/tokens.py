"""The token of the OAuth client: one for all callers, renewed before it expires."""

import asyncio
import re
from typing import Annotated

import msgspec

from bridge.adapters.genesys.answers import Answer, Asking, FailedError, RefusedError, error_of
from bridge.adapters.genesys.options import Options, rest_url
from bridge.core.errors import BridgeError
from bridge.core.events.genesys import TokenRenewed
from bridge.ports import Clock, Emit

_WHAT = "the request for a token"
_EARLY_MS = 60_000
_LONGEST_LIFE_S = 30 * 24 * 60 * 60
# RFC 6750 section 2.1, widened to any visible ASCII: it goes into a header as it is.
_BEARER = re.compile(r"[\x21-\x7e]{1,16384}")


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: Annotated[float, msgspec.Meta(gt=0)]


class _Token(msgspec.Struct, frozen=True):
    value: str
    renew_at_ms: float


class Tokens:
    """Gives the token. However many ask at a time, one request is made, and its failure is the failure of them all."""

    def __init__(self, options: Options, asking: Asking, *, clock: Clock, emit: Emit) -> None:
        self._options = options
        self._asking = asking
        self._clock = clock
        self._emit = emit
        self._token: _Token | None = None
        self._turn = asyncio.Lock()
        self._requests = 0
        self._failure: BridgeError | None = None

    async def token(self) -> str:
        """A token that is good for now.

        Raises RefusedError where Genesys refuses the client, FailedError where it gives no token now.
        """
        seen = self._requests
        async with self._turn:
            if self._token is not None and self._clock() < self._token.renew_at_ms:
                return self._token.value
            if self._failure is not None and self._requests != seen:
                raise self._failure
            return await self._request()

    async def renew(self, stale: str) -> str:
        """Another token than `stale`, which Genesys did not accept."""
        self.forget(stale)
        return await self.token()

    def forget(self, stale: str) -> None:
        """Sees to it that `stale` is not given again; a newer token is kept."""
        if self._token is not None and self._token.value == stale:
            self._token = None

    async def _request(self) -> str:
        asked_at_ms = self._clock()
        self._failure = None
        try:
            grant = _grant_in(await self._ask(asked_at_ms))
        except BridgeError as error:
            self._failure = error
            raise
        finally:
            self._requests += 1
        life_s = min(grant.expires_in, _LONGEST_LIFE_S)
        early_ms = min(_EARLY_MS, life_s * 100)  # 10 % of its life
        self._token = _Token(grant.access_token, asked_at_ms + life_s * 1000 - early_ms)
        self._emit(TokenRenewed(life_s=life_s))
        return grant.access_token

    async def _ask(self, now_ms: int) -> Answer:
        body = {
            "grant_type": "client_credentials",
            "client_id": self._options.client_id,
            "client_secret": self._options.client_secret,
            "scope": self._options.scope,
        }
        return await self._asking.post(rest_url(self._options, "/api/v2/oauth/token"), body=body, now_ms=now_ms)


def _grant_in(answer: Answer) -> _Grant:
    if answer.status == 401 or (answer.status == 400 and b"invalid_client" in answer.body):
        raise RefusedError(
            f"Genesys refuses the OAuth client ({answer.status})",
            remedy="check genesys.client_id and genesys.client_secret, and that the client is active",
            cause="client-refused",
        )
    if answer.status != 200:
        raise error_of(answer.status, what=_WHAT, retry_after_s=answer.retry_after_s)
    try:
        grant = msgspec.json.decode(answer.body, type=_Grant)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        grant = _Grant("", 1)
    if not _BEARER.fullmatch(grant.access_token):
        # `from None`, and no quote: what could not be read may still hold a token.
        raise FailedError(f"{_WHAT} was answered with something that is no token", cause="unavailable") from None
    return grant

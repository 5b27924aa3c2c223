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
_EARLY_S = 60.0
_EARLY_SHARE = 0.1
_LONGEST_LIFE_S = 30 * 24 * 60 * 60
# RFC 6750 section 2.1, widened to any visible ASCII: it goes into a header as it is.
_BEARER = re.compile(r"[\x21-\x7e]{1,16384}")


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: Annotated[float, msgspec.Meta(gt=0)]


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it was given. It lives from before it was asked for, at `from_ms`, to `to_ms`."""

    value: str
    from_ms: float
    to_ms: float

    def before_end_ms(self, early_s: float, *, share: float) -> float:
        """The time `early_s` before its end, or that share of its life where that is less."""
        return self.to_ms - min(early_s * 1000, (self.to_ms - self.from_ms) * share)

    def __repr__(self) -> str:
        return f"Token(from_ms={self.from_ms}, to_ms={self.to_ms})"  # The value is a secret.


class Tokens:
    """Gives the token. However many ask at a time, one request is made, and its failure is the failure of them all."""

    def __init__(self, options: Options, asking: Asking, *, clock: Clock, emit: Emit) -> None:
        self._options = options
        self._asking = asking
        self._clock = clock
        self._emit = emit
        self._token: Token | None = None
        self._turn = asyncio.Lock()
        self._requests = 0
        self._failure: BridgeError | None = None

    async def token(self) -> Token:
        """A token that is good for now.

        Raises RefusedError where Genesys refuses the client, FailedError where it gives no token now.
        """
        return await self._token_but(None)

    async def another(self, than: Token) -> Token:
        """Another token than this one, which stays in use where there is none. Raises what `token` raises."""
        return await self._token_but(than.value)

    async def renew(self, stale: Token) -> Token:
        """Another token than `stale`, which Genesys did not accept."""
        self.forget(stale)
        return await self.token()

    def forget(self, stale: Token) -> None:
        """Sees to it that `stale` is not given again; a newer token is kept."""
        if self._token is not None and self._token.value == stale.value:
            self._token = None

    async def _token_but(self, not_this: str | None) -> Token:
        seen = self._requests
        async with self._turn:
            token = self._token
            if token is not None and token.value != not_this and not self._is_old(token):
                return token
            if self._failure is not None and self._requests != seen:
                raise self._failure
            return await self._request()

    def _is_old(self, token: Token) -> bool:
        return self._clock() >= token.before_end_ms(_EARLY_S, share=_EARLY_SHARE)

    async def _request(self) -> Token:
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
        self._token = Token(value=grant.access_token, from_ms=asked_at_ms, to_ms=asked_at_ms + life_s * 1000)
        self._emit(TokenRenewed(life_s=life_s))
        return self._token

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

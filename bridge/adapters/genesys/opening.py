"""Opens a socket, in order: token -> content library (once) -> quota -> handshake."""

import asyncio
import logging
from dataclasses import dataclass
from math import inf

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from bridge.adapters.genesys.answers import FailedError, RefusedError, error_of, is_tls_failure, no_address, shown
from bridge.adapters.genesys.deflate import DeflateFactory
from bridge.adapters.genesys.options import Options, socket_url
from bridge.adapters.genesys.rest import Rest
from bridge.adapters.genesys.tokens import Token
from bridge.core.reconnect import retry_after_s
from bridge.ports import Clock

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
CLOSE_TIMEOUT_S = 2.0
# Small, so that a reader that pauses is felt by the peer, over TCP, after few frames, and so that few of the largest
# are held.
_MAX_QUEUED_FRAMES = 4
# A socket is replaced once for each token: so it must not begin with its token's life.
_ROTATION_SHARE = 0.5


class QuotaFullError(Exception):
    """The tenant has no connection left. This is no failure: look again later."""

    def __init__(self, *, active: int, limit: int) -> None:
        super().__init__(f"{active} of {limit} connections are in use")
        self.active = active
        self.limit = limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An open socket, and the token that opened it."""

    connection: ClientConnection
    token: Token


class Opening:
    """Opens the sockets of one process, one at a time, so that they don't overrun the quota together."""

    def __init__(self, options: Options, rest: Rest, *, clock: Clock) -> None:
        self._options = options
        self._rest = rest
        self._clock = clock
        self._what = f"the handshake with {shown(socket_url(options))}"
        self._turn = asyncio.Lock()
        self._is_library_checked = False

    async def open(self) -> Opened:
        """A new open socket; takes a few request timeouts at most. Raises QuotaFullError, RefusedError, FailedError."""
        async with self._turn:
            await self._preflight()
            return await self._open(await self._token())

    async def open_next(self, former: Token) -> Opened:
        """A socket with another token than `former`, beside the one that it opened. Raises what `open` raises."""
        async with self._turn:
            token = await self._rest.tokens.another(former)
            if token.value == former.value:
                raise FailedError("Genesys gave the same token again", cause="token")
            await self._preflight()
            return await self._open(token)

    def rotates_at_ms(self, token: Token) -> float:
        """From when on a socket that this token opened is to be replaced; infinity where that is not asked for."""
        early_s = self._options.rotate_before_s
        return token.before_end_ms(early_s, share=_ROTATION_SHARE) if early_s else inf

    def forget(self, token: Token) -> None:
        """Genesys does not accept this token any more: what the next one may do is looked at afresh."""
        self._rest.tokens.forget(token)
        self._is_library_checked = False

    async def _token(self) -> Token:
        token = await self._rest.tokens.token()
        if self._clock() < self.rotates_at_ms(token):
            return token
        try:
            return await self._rest.tokens.another(token)  # Else the socket would be replaced at once.
        except (RefusedError, FailedError):
            return token

    async def _open(self, token: Token) -> Opened:
        try:
            return Opened(connection=await self._connect(token.value), token=token)
        except FailedError as error:
            if error.cause == "token":
                self.forget(token)
            raise

    async def _preflight(self) -> None:
        if not self._is_library_checked:
            await self._rest.check_library()
            self._is_library_checked = True
        active = await self._rest.active_connections()
        if active >= self._options.max_connections:
            raise QuotaFullError(active=active, limit=self._options.max_connections)

    async def _connect(self, token: str) -> ClientConnection:
        try:
            return await _Connect(
                socket_url(self._options),
                additional_headers={"Authorization": f"Bearer {token}"},
                open_timeout=self._options.request_timeout_s,
                close_timeout=CLOSE_TIMEOUT_S,
                # Its keepalive would drop a connection that is paused on purpose: the pong is not read then.
                ping_interval=None,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=_MAX_QUEUED_FRAMES,
                extensions=[DeflateFactory()],
                logger=_silent_logger(),
            )
        except InvalidStatus as error:
            raise self._error_of(error) from error
        except InvalidURI as error:
            raise no_address() from error
        except (InvalidProxy, ImportError) as error:
            # Told by its type alone: a proxy's address may hold a password. SOCKS needs a package that is not here.
            raise RefusedError(
                f"the proxy that the environment names cannot be used for the socket ({type(error).__name__})",
                remedy="write HTTPS_PROXY like http://proxy.example.com:3128, and unset SOCKS_PROXY",
                cause="not-found",
            ) from error
        except (InvalidHandshake, ProxyError, ConnectionClosed) as error:
            cause = "dropped" if _is_cut_off(error) else "unavailable"
            raise FailedError(f"{self._what} failed: {type(error).__name__}", cause=cause) from error
        except TimeoutError as error:
            raise FailedError(
                f"no answer to {self._what} within {self._options.request_timeout_s:g} s", cause="unreachable"
            ) from error
        except OSError as error:
            cause = "tls" if is_tls_failure(error) else "unreachable"
            raise FailedError(f"{self._what} failed: {type(error).__name__}", cause=cause) from error

    def _error_of(self, error: InvalidStatus) -> RefusedError | FailedError:
        asked = error.response.headers.get_all("Retry-After")
        return error_of(
            error.response.status_code,
            what=self._what,
            retry_after_s=retry_after_s(
                asked[0] if asked else None, now_ms=self._clock(), cap_s=self._options.retry_after_max_s
            ),
        )


def _is_cut_off(error: BaseException) -> bool:
    """Whether the connection ended before its handshake was answered, by a reset or not."""
    is_unanswered = isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError)
    return is_unanswered or isinstance(error, ConnectionClosed)


class _Connect(connect):
    """A handshake that follows no redirect, as REST follows none: the token is meant for `base_url`."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _silent_logger() -> logging.Logger:
    # At DEBUG the library logs headers and frames: the token, and customers' text.
    logger = logging.getLogger(f"{__name__}.websockets")
    logger.disabled = True
    return logger

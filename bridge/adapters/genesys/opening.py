"""Opens a socket, in order: token -> content library (once) -> quota -> handshake."""

import asyncio
import logging
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, ProxyError

from bridge.adapters.genesys.answers import FailedError, RefusedError, error_of, is_tls_failure, no_address, shown
from bridge.adapters.genesys.options import Options, socket_url
from bridge.adapters.genesys.rest import Rest
from bridge.core.reconnect import retry_after_s
from bridge.ports import Clock

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
CLOSE_TIMEOUT_S = 2.0
# Small, so that a reader that pauses is felt by the peer, over TCP, after few frames.
_MAX_QUEUED_FRAMES = 16


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
    token: str


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
            token = await self._rest.tokens.token()
            try:
                return Opened(connection=await self._connect(token), token=token)
            except FailedError as error:
                if error.cause == "token":
                    self.forget(token)
                raise

    def forget(self, token: str) -> None:
        """Genesys does not accept this token any more."""
        self._rest.tokens.forget(token)

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
                logger=_silent_logger(),
            )
        except InvalidStatus as error:
            raise self._error_of(error) from error
        except InvalidURI as error:
            raise no_address() from error
        except (InvalidHandshake, ProxyError) as error:
            raise FailedError(f"{self._what} failed: {type(error).__name__}", cause="unavailable") from error
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


class _Connect(connect):
    """A handshake that follows no redirect, as REST follows none: the token is meant for `base_url`."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _silent_logger() -> logging.Logger:
    # At DEBUG the library logs headers and frames: the token, and customers' text.
    logger = logging.getLogger(f"{__name__}.websockets")
    logger.disabled = True
    return logger

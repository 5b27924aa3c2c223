"""What REST answers of Genesys mean: a body, or an error that names a cause of the reconnect table."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import httpx

from bridge.core.errors import StartError, UnavailableError
from bridge.core.reconnect import cause_of_status, retry_after_s, rule_of

# A library listing of some thousand entries has less than 1 MiB.
_MAX_BODY_BYTES = 8 * 1024 * 1024


class RefusedError(StartError):
    """Genesys refuses, and will go on refusing until an operator acts; `cause` is a row of the reconnect table."""

    def __init__(self, problem: str, *, remedy: str, cause: str) -> None:
        super().__init__(problem, remedy=remedy)
        self.cause = cause


class FailedError(UnavailableError):
    """Genesys did not do what was asked, but may yet; `cause` is a row of the reconnect table."""

    def __init__(self, reason: str, *, cause: str, retry_after_s: float | None = None) -> None:
        super().__init__("Genesys", reason, retry_after_s=retry_after_s, remedy=rule_of(cause).remedy)
        self.cause = cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer that has been read to its end. `retry_after_s` is capped."""

    status: int
    body: bytes
    retry_after_s: float | None


def error_of(status: int, *, what: str, retry_after_s: float | None = None) -> RefusedError | FailedError:
    """The error that a status other than the expected one is; `what` was asked for."""
    cause = cause_of_status(status)
    if cause == "forbidden":
        return RefusedError(
            f"{what} was answered 403: the client may not do this",
            remedy="grant the scope agentassist:view to the OAuth client in Genesys, and name it in genesys.scope",
            cause=cause,
        )
    if cause == "not-found":
        return RefusedError(f"{what} was answered 404: nothing is there", remedy="check genesys.base_url", cause=cause)
    return FailedError(_sentence(status, what), cause=cause, retry_after_s=retry_after_s)


def _sentence(status: int, what: str) -> str:
    meaning = {
        401: ": the token was not accepted",
        429: ": too many requests or connections",
    }
    return f"{what} was answered {status}{meaning.get(status, '')}"


class Asking:
    """Asks one HTTP question at a time, each with one deadline over everything."""

    def __init__(self, client: httpx.AsyncClient, *, timeout_s: float, retry_after_max_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._retry_after_max_s = retry_after_max_s

    async def get(self, url: str, *, token: str, now_ms: int) -> Answer:
        """The answer to a GET with a Bearer token. Raises FailedError where there is none."""
        return await self._ask("GET", url, now_ms=now_ms, headers={"authorization": f"Bearer {token}"})

    async def post(self, url: str, *, body: Mapping[str, str], now_ms: int) -> Answer:
        """The answer to a POST of JSON. Raises FailedError where there is none."""
        return await self._ask("POST", url, now_ms=now_ms, json=body)

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        now_ms: int,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, str] | None = None,
    ) -> Answer:
        # Foreign errors may quote the request; what is raised here names only their type.
        where = f"{method} {shown(url)}"
        try:
            request = self._client.build_request(method, url, headers=headers, json=json)
            async with asyncio.timeout(self._timeout_s):
                return await self._read(request, now_ms=now_ms)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise no_address() from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise FailedError(f"no answer to {where} within {self._timeout_s:g} s", cause="unreachable") from error
        except (httpx.HTTPError, OSError) as error:
            # OSError: what TLS says of an answer that it cannot read (seen with anyio 4.16).
            raise FailedError(f"no answer to {where}: {type(error).__name__}", cause=_cause_of(error)) from error

    async def _read(self, request: httpx.Request, *, now_ms: int) -> Answer:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _MAX_BODY_BYTES:
                    raise FailedError(f"the answer to {request.url.path} is too large", cause="unavailable")
        finally:
            await response.aclose()
        asked = response.headers.get("retry-after")
        return Answer(
            status=response.status_code,
            body=bytes(body),
            retry_after_s=retry_after_s(asked, now_ms=now_ms, cap_s=self._retry_after_max_s),
        )


def shown(url: str) -> str:
    """An address as errors show it: without a name and password that someone may have put into it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def no_address() -> RefusedError:
    """The error for a `base_url` that is none."""
    return RefusedError(
        "genesys.base_url is no address", remedy="write it like https://api.mypurecloud.com", cause="not-found"
    )


def is_tls_failure(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is about TLS: a certificate, or a peer that speaks none."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _cause_of(error: httpx.HTTPError | OSError) -> str:
    if is_tls_failure(error):
        return "tls"
    if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError):
        return "unavailable"
    return "unreachable"

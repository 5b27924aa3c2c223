"""The KMP over HTTP: one export, one POST; every way in which that can end is an answer."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import TracebackType
from typing import Annotated, ClassVar, Self

import httpx

from bridge.core.options import Within
from bridge.core.verdict import Answer, Answered, NoAnswer, RetryPolicy

SEQUENCE_HEADER = "Bridge-Sequence"

# Nothing in an answer's body is used; it is read so that the connection can be used again, but not without end.
_MAX_BODY_BYTES = 64 * 1024
# Below the 5 s after which common servers close an idle connection: a POST into a closing one is answered by nobody.
_KEEPALIVE_EXPIRY_S = 4.0
_CLOSE_S = 1.0
# RFC 9110, section 5.6.2 (token) and 11.2 (token68): what may stand as a header's name, and after `Bearer`.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN_68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The section `kmp`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    endpoint: str = ""
    bearer_token: str = field(default="", repr=False)
    allow_plaintext: bool = False
    timeout_s: Annotated[float, Within(0.1, 20)] = 5.0
    # With a KMP that answers in 50 ms this is the 1,280 POSTs a second that one process can make.
    max_in_flight: Annotated[int, Within(1, 1_000)] = 64
    idempotency_header: str = "Idempotency-Key"
    quote_idempotency_key: bool = False
    # 520 to 524 is how a content delivery network in front of the KMP spells 502 and 504.
    retry_statuses: tuple[int, ...] = (408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)
    retry_after_max_s: Annotated[float, Within(0.1, 86_400)] = 300.0
    backoff_first_s: Annotated[float, Within(0.01, 60)] = 2.0
    backoff_cap_s: Annotated[float, Within(0.01, 3_600)] = 30.0

    @property
    def policy(self) -> RetryPolicy:
        """The part that decides what an answer means."""
        return RetryPolicy(
            retry_statuses=self.retry_statuses,
            retry_after_max_s=self.retry_after_max_s,
            backoff_first_s=self.backoff_first_s,
            backoff_cap_s=self.backoff_cap_s,
        )


def faults_of(options: Options) -> Iterator[str]:
    """What no range tells about the section `kmp`: one line each, with the option's path. Secrets are not in it."""
    fault = _fault_of_endpoint(options)
    if fault:
        yield f"kmp.endpoint: {fault}"
    if not _TOKEN.fullmatch(options.idempotency_header):
        yield f"kmp.idempotency_header: must be a header's name, got {options.idempotency_header!r}"
    if options.bearer_token and not _TOKEN_68.fullmatch(options.bearer_token):
        yield "kmp.bearer_token: must be a token as it stands after 'Bearer'"


def _fault_of_endpoint(options: Options) -> str | None:
    try:
        endpoint = httpx.URL(options.endpoint)
    except httpx.InvalidURL:
        return "must be an http or https address"
    # httpx escapes what can't be a host's name, and leaves a port that is too large to the socket.
    is_reachable = endpoint.host and "%" not in endpoint.host and (endpoint.port or 1) <= 65_535
    if endpoint.scheme not in {"http", "https"} or not is_reachable:
        return "must be an http or https address"
    if endpoint.userinfo:
        return "must carry no user and password; use kmp.bearer_token"
    if endpoint.scheme == "http" and not (options.allow_plaintext or _is_loopback(endpoint.host)):
        return f"must be https unless kmp.allow_plaintext is set, got http://{endpoint.host}"
    return None


class HttpKmp:
    """The port `Kmp` over `max_in_flight` connections, as an async context manager that closes them.

    Each connection is a client of its own: one client with a pool of 64 looks at every idle connection for each
    request and makes about 290 POSTs a second, clients with one connection each about 1,240.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._url = httpx.URL(options.endpoint)
        self._new_client = _client_maker(options, self._url.host)
        self._clients = {self._new_client() for _ in range(options.max_in_flight)}
        # Last in, first out: the connections that are warm are used first, the others may close.
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in self._clients:
            self._free.put_nowait(client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            await client.aclose()

    async def post(self, body: bytes, *, idempotency_key: str, sequence: str) -> Answer:
        """See `ports.Kmp`. More posts than connections wait for one another; each has its own deadline."""
        key = f'"{idempotency_key}"' if self._options.quote_idempotency_key else idempotency_key
        return await self._ask(
            "POST",
            body,
            {
                "content-type": "application/json",
                self._options.idempotency_header: key,
                SEQUENCE_HEADER: sequence,
            },
        )

    async def probe(self) -> Answer:
        """What the endpoint answers to a HEAD: any status at all shows that it is there. Nothing is posted."""
        return await self._ask("HEAD", b"", {})

    async def _ask(self, method: str, body: bytes, headers: dict[str, str]) -> Answer:
        client = await self._free.get()
        answer: Answer = NoAnswer(cause="timeout", detail=f"no answer within {self._options.timeout_s:g} s")
        is_cut_off = True
        try:
            async with (
                asyncio.timeout(self._options.timeout_s),
                client.stream(method, self._url, content=body, headers=headers) as response,
            ):
                # The status is the answer, whatever becomes of the body.
                answer = Answered(status=response.status_code, retry_after=response.headers.get("retry-after"))
                await _read_off(response)
            is_cut_off = False
        except TimeoutError:
            return answer
        except (httpx.HTTPError, OSError) as error:
            # OSError: httpx lets through what TLS says of bytes that it cannot read (seen with anyio 4.16: SSLError).
            is_cut_off = isinstance(error, OSError)
            return answer if isinstance(answer, Answered) else NoAnswer(cause="connection", detail=_detail(error))
        finally:
            if is_cut_off:
                await self._replace(client)
            else:
                self._free.put_nowait(client)
        return answer

    async def _replace(self, client: httpx.AsyncClient) -> None:
        """Puts a new client in the place of one that was cut off.

        Some cancellations leave its one connection in use for ever (seen with httpcore 1.0.9): every later post would
        wait for it in vain.
        """
        fresh = self._new_client()
        self._clients.add(fresh)
        self._free.put_nowait(fresh)
        self._clients.discard(client)
        with suppress(httpx.HTTPError, OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await client.aclose()


def _client_maker(options: Options, host: str) -> Callable[[], httpx.AsyncClient]:
    headers = {"user-agent": "bridge"}
    if options.bearer_token:
        headers["authorization"] = f"Bearer {options.bearer_token}"
    verified = httpx.create_ssl_context()  # One for all: loading the authorities takes longer than all the rest.
    return lambda: httpx.AsyncClient(
        headers=headers,
        verify=verified,
        timeout=None,  # noqa: S113 - the whole of a POST has one deadline, in `_ask`
        limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEEPALIVE_EXPIRY_S),
        follow_redirects=False,
        event_hooks={"response": [_ignore_location]},
        # A proxy from the environment can't reach this machine's own loopback.
        trust_env=not _is_loopback(host),
    )


async def _ignore_location(response: httpx.Response) -> None:
    # httpx builds the next request even where it does not follow, and raises for a Location that it can't read.
    response.headers.pop("location", None)


async def _read_off(response: httpx.Response) -> None:
    left = _MAX_BODY_BYTES
    async for chunk in response.aiter_raw():
        left -= len(chunk)
        if left < 0:
            return


def _detail(error: httpx.HTTPError | OSError) -> str:
    # Only a failed connect is spelled out (refused, certificate, name): other texts may quote what was sent.
    name = type(error).__name__
    return f"{name}: {error}"[:200] if isinstance(error, httpx.ConnectError) else name


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

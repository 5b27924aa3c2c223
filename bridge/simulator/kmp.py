"""The knowledge-management platform as the bridge sees it: takes exports, remembers posts, has faults by script."""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Annotated, Literal, Self

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from bridge.core.times import from_rfc3339
from bridge.simulator.door import Door
from bridge.simulator.faults import AppliedFault, FaultsInForce, RunningScript
from bridge.simulator.memory import Remembered, forget_oldest
from bridge.simulator.script import Answer, BeSlow, Fault, Script
from bridge.simulator.serving import add_fault_route, add_page, json_response, serving
from bridge.simulator.tasks import own_tasks
from bridge.simulator.times import Changes, Elapsed, now_ms

# Answers below 500 after which a sender tries again; the others below 500 are refusals.
_COMES_AGAIN = frozenset({408, 409, 425, 429})
_SEQUENCE = re.compile(r"\d+/\d+", re.ASCII)


class AgentAssistSync(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of a post; `exportedAt` is an RFC 3339 time."""

    type: Literal["agent_assist_sync"]
    interaction_id: Annotated[str, msgspec.Meta(min_length=1)]
    accepted_article_id: Annotated[str, msgspec.Meta(min_length=1)]
    acceptance_rate: Annotated[float, msgspec.Meta(ge=0)]
    exported_at: str

    def __post_init__(self) -> None:
        from_rfc3339(self.exported_at)


_syncs = msgspec.json.Decoder(AgentAssistSync)


class Post(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A post as it came: `number` in the order of arrival, `at_ms` when, `status` what it was answered with.

    `is_repeat` is true for a key that is held already, under the same body. `body` is base64.
    """

    number: int
    at_ms: int
    key: str | None
    sequence: str | None
    body: bytes
    status: int
    is_repeat: bool


class KmpState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `GET /simulator/state` answers: posts and repeats in all, keys held, keys refused, the faults that began."""

    posts: int
    repeats: int
    held: int
    refused: int
    answers: dict[str, int]
    faults: list[AppliedFault]


class KmpBooks(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /simulator/posts` answers: every post, and bodies (base64) by key: held, and refused for good."""

    posts: list[Post]
    held: dict[str, bytes]
    refused: dict[str, bytes]


class _Verdict(msgspec.Struct, frozen=True):
    status: int
    reason: str = ""
    is_repeat: bool = False
    retry_after: str | None = None


class KmpSimulator:
    """A real server while it is entered: `async with KmpSimulator() as kmp: kmp.endpoint`.

    A key that it has not seen is held with its body, and answered 200; with the same body again 200 (a repeat), with
    another body 422, while the first is still being worked on 409. Articles of `refuse_articles` are answered 422.
    Entering raises StartError if the address is taken.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "/api/v1/sync",
        idempotency_header: str = "Idempotency-Key",
        refuse_articles: Collection[str] = (),
        script: Script = (),
    ) -> None:
        self._posts: Remembered[Post] = Remembered()
        self._repeats = 0
        self.held: dict[str, bytes] = {}
        self.refused: dict[str, bytes] = {}
        self._host = host
        self._port = port
        self._path = path
        self._base_url = ""
        self._idempotency_header = idempotency_header
        self._refuse_articles = frozenset(refuse_articles)
        self._in_work: set[str] = set()
        self._elapsed = Elapsed()
        self._changes = Changes()
        self._in_force = FaultsInForce()
        self._script = RunningScript[Answer | BeSlow](script, takes=(Answer, BeSlow), elapsed=self._elapsed)
        self._door = Door(in_force=self._in_force, elapsed=self._elapsed)

    # -- for whoever runs it -------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:1234`, once entered."""
        return self._base_url

    @property
    def endpoint(self) -> str:
        """The address to post to, once entered. Every other path that isn't the simulator's own takes posts as well."""
        return self._base_url + self._path

    @property
    def posts(self) -> Sequence[Post]:
        """The posts (at least the last 500,000), in the order of their arrival."""
        return self._posts.items

    @property
    def faults(self) -> Sequence[AppliedFault]:
        """The faults that have begun."""
        return self._script.applied

    def state(self) -> KmpState:
        """How things stand."""
        return KmpState(
            posts=self._posts.count,
            repeats=self._repeats,
            held=len(self.held),
            refused=len(self.refused),
            answers=dict(self._door.answers),
            faults=list(self._script.applied),
        )

    def post(self, *faults: Fault) -> None:
        """Adds faults, `at_s` seconds from now. Raises ValueError for a kind that this simulator cannot do."""
        self._script.post(faults)

    async def until(self, holds: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Waits until `holds()`, which is asked whenever something has happened here; raises TimeoutError."""
        await self._changes.until(holds, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._base_url = await stack.enter_async_context(serving(self._app(), host=self._host, port=self._port))
            self._elapsed.restart()
            tasks = await stack.enter_async_context(own_tasks())
            stack.callback(tasks.create_task(self._script.run(self._perform)).cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _perform(self, fault: Answer | BeSlow) -> None:
        self._in_force.apply(fault, now_s=self._elapsed())
        self._changes.tell()

    def _app(self) -> Starlette:
        app = Starlette()
        add_fault_route(app, self._script.post)
        add_page(
            app, "/simulator/posts", lambda: KmpBooks(posts=self._posts.items, held=self.held, refused=self.refused)
        )
        add_page(app, "/simulator/state", self.state)
        app.add_route("/{path:path}", self._take, methods=["POST"])
        return app

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        key = request.headers.get(self._idempotency_header)
        verdict = self._judge(request, key, body)
        self._remember(request, key, body, verdict)
        if key is not None and verdict.status == 200:
            self._in_work.add(key)
        await self._door.slow_down("post", request.url.path)
        self._in_work.discard(key or "")
        response = json_response(
            {"status": verdict.status, "reason": verdict.reason}, status=verdict.status, retry_after=verdict.retry_after
        )
        return self._door.noted("post", response)

    def _judge(self, request: Request, key: str | None, body: bytes) -> _Verdict:
        scripted = self._door.scripted("post", request.url.path)
        if scripted is not None:
            return _Verdict(scripted.status, "by script", retry_after=scripted.retry_after)
        fault = _fault_of_headers(request, key)
        if fault is not None or key is None:
            return _Verdict(400, fault or "")
        try:
            sync = _syncs.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _Verdict(400, str(error))
        if sync.accepted_article_id in self._refuse_articles:
            return _Verdict(422, "this article is not known here")
        return self._judge_key(key, body)

    def _judge_key(self, key: str, body: bytes) -> _Verdict:
        held = self.held.get(key)
        if held is None:
            return _Verdict(200)
        if held != body:
            return _Verdict(422, "this key is held with another body")
        if key in self._in_work:
            return _Verdict(409, "this key is still being worked on")
        return _Verdict(200, is_repeat=True)

    def _remember(self, request: Request, key: str | None, body: bytes, verdict: _Verdict) -> None:
        post = Post(
            number=self._posts.count + 1,
            at_ms=now_ms(),
            key=key,
            sequence=request.headers.get("bridge-sequence"),
            body=body,
            status=verdict.status,
            is_repeat=verdict.is_repeat,
        )
        self._posts.add(post)
        self._repeats += post.is_repeat
        if key is not None and verdict.status == 200:
            self.held.setdefault(key, body)
            self.refused.pop(key, None)
        elif key is not None and key not in self.held and _is_final(verdict.status):
            self.refused[key] = body
        forget_oldest(self.held)
        forget_oldest(self.refused)
        self._changes.tell()


def _fault_of_headers(request: Request, key: str | None) -> str | None:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        return "the content type is not application/json"
    if not key:
        return "there is no idempotency key"
    if not _SEQUENCE.fullmatch(request.headers.get("bridge-sequence", "")):
        return "Bridge-Sequence is not partition/offset"
    return None


def _is_final(status: int) -> bool:
    return 300 <= status < 500 and status not in _COMES_AGAIN

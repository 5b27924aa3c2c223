"""A KMP in memory, a KMP on loopback, and time that stands still: what the exporter is tested with."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bridge.core.verdict import Answer, Answered, NoAnswer


@dataclass(slots=True, kw_only=True)
class Post:
    """One POST as the KMP saw it; `answer` is what it will be answered."""

    body: bytes
    key: str
    sequence: str
    answer: asyncio.Future[Answer]


class FakeKmp:
    """The port `Kmp`. Answers 200 at once, or what `answers` says; with `is_held`, when the test says so.

    Look at `posts` (all, in order) and `open` (those not answered yet). `answers` are used up in order; `always` is
    what stands when there are none.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.open: list[Post] = []
        self.answers: list[Answer] = []
        self.always: Answer = Answered(status=200)
        self.is_held = False
        self.most_open = 0
        self._changed = asyncio.Condition()

    async def post(self, body: bytes, *, idempotency_key: str, sequence: str) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        post = Post(body=body, key=idempotency_key, sequence=sequence, answer=answer)
        self.posts.append(post)
        self.open.append(post)
        self.most_open = max(self.most_open, len(self.open))
        if not self.is_held:
            answer.set_result(self.answers.pop(0) if self.answers else self.always)
        try:
            await self._tell()
            return await answer
        finally:
            self.open.remove(post)

    async def until_posts(self, number: int) -> None:
        """Waits until so many POSTs have been made, answered or not."""
        await self._until(lambda: len(self.posts) >= number)

    async def until_open(self, number: int) -> None:
        """Waits until so many POSTs wait for an answer."""
        await self._until(lambda: len(self.waiting) >= number)

    @property
    def waiting(self) -> list[Post]:
        """The POSTs that were not answered."""
        return [post for post in self.open if not post.answer.done()]

    async def let_go(self) -> None:
        """Answers what waits, and from now on at once."""
        self.is_held = False
        for post in self.waiting:
            post.answer.set_result(self.answers.pop(0) if self.answers else self.always)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(holds)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class ManualTime:
    """Monotonic seconds that pass only by `advance`; `sleep` waits for it. `delays` are all that was slept.

    With `is_flowing`, time passes by the sleeping itself: every sleep is over at once.
    """

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.is_flowing = False
        self.delays: list[float] = []
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._changed = asyncio.Condition()

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        self.delays.append(delay_s)
        if self.is_flowing:
            self.now_s += delay_s
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = (self.now_s + delay_s, done)
        self._sleepers.append(sleeper)
        try:
            async with self._changed:
                self._changed.notify_all()
            await done
        finally:
            self._sleepers.remove(sleeper)

    async def until_sleeping(self, number: int = 1) -> None:
        """Waits until so many sleep."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self.sleeping >= number)

    @property
    def sleeping(self) -> int:
        return sum(not done.done() for _, done in self._sleepers)

    def advance(self, by_s: float) -> None:
        """Lets time pass, and wakes whose time has come."""
        self.now_s += by_s
        for until_s, done in self._sleepers:
            if until_s <= self.now_s and not done.done():
                done.set_result(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request as the loopback KMP saw it; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class LoopbackKmp:
    """A small HTTP/1.1 server: answers each request with the bytes of `reply`; with None it stays silent."""

    reply: bytes | None = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/exports"

    def answer_with(self, status: int, *headers: str, body: bytes = b"") -> None:
        """From now on this status, with these headers (`name: value`)."""
        head = "".join(f"{header}\r\n" for header in (*headers, f"content-length: {len(body)}"))
        self.reply = f"HTTP/1.1 {status} Such\r\n{head}\r\n".encode() + body

    def listens(self, server: asyncio.Server) -> None:
        self._server = server
        self.port = server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                if self.reply is not None:
                    writer.write(self.reply)
                    await writer.drain()
        except ConnectionError:
            pass  # The client went away, as some tests make it do.
        finally:
            writer.close()

    async def go_away(self) -> None:
        """Closes every connection and takes no new one."""
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()


@asynccontextmanager
async def loopback_kmp() -> AsyncIterator[LoopbackKmp]:
    """A loopback KMP that is there while inside."""
    kmp = LoopbackKmp()
    server = await asyncio.start_server(kmp.serve, "127.0.0.1", 0)
    kmp.listens(server)
    try:
        yield kmp
    finally:
        await kmp.go_away()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = first.split(" ")
    return Request(method=method, path=path, headers=headers, body=body)


def no_connection() -> NoAnswer:
    """What a KMP that is not there makes of a POST."""
    return NoAnswer(cause="connection", detail="ConnectError")

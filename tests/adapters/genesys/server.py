"""A Genesys for tests: raw enough to break the rules, and with a record of all that it was asked."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol


class Seen:
    """Tells those who wait that something has changed."""

    def __init__(self) -> None:
        self._turns: list[asyncio.Future[None]] = []

    def tell(self) -> None:
        turns, self._turns = self._turns, []
        for turn in turns:
            if not turn.done():
                turn.set_result(None)

    async def until(self, is_so: Callable[[], object], *, within_s: float = 10) -> None:
        """Waits until `is_so`, looking again at each change."""
        async with asyncio.timeout(within_s):
            while not is_so():
                await self.wait()

    async def wait(self) -> None:
        """Waits for the next change."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        await turn


@dataclass(slots=True, kw_only=True)
class Scripted:
    """One answer that is given instead of the right one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Peer:
    """One WebSocket, as the server has it."""

    def __init__(self, protocol: ServerProtocol, writer: StreamWriter, request: Request, seen: Seen) -> None:
        self.received: list[dict[str, Any]] = []
        self.pings = 0
        self.is_gone = False
        self.authorization = request.headers["Authorization"]
        self.extensions = request.headers.get("Sec-WebSocket-Extensions", "")
        self.is_mute = False
        self.may_end = True
        self._protocol = protocol
        self._writer = writer
        self._seen = seen

    @property
    def close_code(self) -> int | None:
        """The code that the client closed with."""
        return None if self._protocol.close_rcvd is None else self._protocol.close_rcvd.code

    @property
    def unsent_bytes(self) -> int:
        """What the client has not let us send yet."""
        return int(self._writer.transport.get_write_buffer_size())

    async def until_pinged(self) -> None:
        """Waits for one more ping."""
        enough = self.pings + 1
        await self._seen.until(lambda: self.pings >= enough)

    def pause_reading(self) -> None:
        """Takes nothing from the client any more."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    @property
    def subscribed(self) -> set[str]:
        """What is subscribed on this socket now."""
        subscribed: set[str] = set()
        for frame in self.received:
            if frame["type"] == "subscribe":
                subscribed.add(frame["interactionId"])
            else:
                subscribed.discard(frame["interactionId"])
        return subscribed

    def request_id(self, interaction_id: str) -> str:
        """The id of the last request about an interaction."""
        return str([one["requestId"] for one in self.received if one["interactionId"] == interaction_id][-1])

    def say(self, **message: object) -> None:
        """Sends an object as text."""
        self.send(json.dumps(message).encode())

    def send(self, data: bytes, *, opcode: Opcode = Opcode.TEXT) -> None:
        """Sends a frame as it is, allowed or not."""
        self._protocol.send_frame(Frame(opcode, data))
        self.flush()

    def suggest(self, interaction_id: str, **more: object) -> bytes:
        """Sends suggestions for an interaction; returns the frame."""
        frame = json.dumps({"interactionId": interaction_id, "suggestions": [], **more}).encode()
        self.send(frame)
        return frame

    def close(self, code: int) -> None:
        """Begins the closing handshake, with any code."""
        self._protocol.send_frame(Frame(Opcode.CLOSE, code.to_bytes(2, "big")))
        self._protocol.close_sent = Close(code, "")
        self._protocol.state = self._protocol.state.CLOSING
        self.flush()

    def drop(self) -> None:
        """Ends the connection without a word."""
        self._writer.transport.abort()

    def flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self.is_mute:
                continue
            if data:
                self._writer.write(data)
            elif self.may_end:
                self._writer.close()

    async def run(self, reader: StreamReader) -> None:
        try:
            while data := await reader.read(65_536):
                self._protocol.receive_data(data)
                for event in self._protocol.events_received():
                    self._take(event)
                self.flush()
                self._seen.tell()
        except ConnectionError:
            pass
        self.is_gone = True
        self._seen.tell()

    def _take(self, event: object) -> None:
        assert isinstance(event, Frame)
        if event.opcode is Opcode.TEXT:
            self.received.append(json.loads(bytes(event.data)))
        elif event.opcode is Opcode.PING:
            self.pings += 1


class GenesysServer:
    """Answers as the dialect says, except for what is scripted."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.base_url = ""
        self.peers: list[Peer] = []
        self.requests: list[tuple[str, bytes]] = []
        self.token_life_s: float = 3600
        self.tokens_given = 0
        self.good_tokens: set[str] = set()
        self.libraries: list[dict[str, object]] = [{"id": "library-1", "name": "Library", "enabled": True}]
        self.active_connections: int | None = None
        self.scripted: dict[str, deque[Scripted]] = {}
        self.stalled: set[str] = set()

    def script(self, path: str, *answers: Scripted) -> None:
        """The next answers to requests whose path ends in `path`."""
        self.scripted.setdefault(path, deque()).extend(answers)

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked.endswith(path) for asked, _ in self.requests)

    @property
    def open_peers(self) -> list[Peer]:
        return [peer for peer in self.peers if not peer.is_gone]

    async def peer(self, number: int = 0, *subscribed: str) -> Peer:
        """The socket of that number, once it is open and has these subscriptions."""
        await self.seen.until(lambda: len(self.peers) > number and set(subscribed) <= self.peers[number].subscribed)
        return self.peers[number]

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            head = await reader.readexactly(1)
            if head == b"\x16":  # TLS: a ClientHello
                return self._answer(writer, Scripted(status=400))
            head += await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
            self.requests.append((path, body))
            self.seen.tell()
            if path in self.stalled:
                await reader.read()
            elif path.endswith("/websocket"):
                await self._serve_socket(head, reader, writer)
            else:
                self._answer(writer, self._scripted(path) or self._right_answer(path, head))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve_socket(self, head: bytes, reader: StreamReader, writer: StreamWriter) -> None:
        scripted = self._scripted("/websocket")
        if scripted is None and not self._is_authorized(head):
            scripted = Scripted(status=401)
        if scripted is not None:
            return self._answer(writer, scripted)
        protocol = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()], max_size=None)
        protocol.receive_data(head)
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        peer = Peer(protocol, writer, request, self.seen)
        peer.flush()
        self.peers.append(peer)
        self.seen.tell()
        return await peer.run(reader)

    def _scripted(self, path: str) -> Scripted | None:
        for end, answers in self.scripted.items():
            if path.endswith(end) and answers:
                return answers.popleft()
        return None

    def _right_answer(self, path: str, head: bytes) -> Scripted:
        if path.endswith("/oauth/token"):
            self.tokens_given += 1
            token = f"token-{self.tokens_given}"
            self.good_tokens.add(token)
            return _json({"access_token": token, "expires_in": self.token_life_s})
        if not self._is_authorized(head):
            return Scripted(status=401)
        if path.endswith("/contentlibraries"):
            return _json({"entities": self.libraries})
        active = len(self.open_peers) if self.active_connections is None else self.active_connections
        return _json({"activeWebSocketConnections": active})

    def _is_authorized(self, head: bytes) -> bool:
        return any(f"bearer {token}\r\n".encode() in head.lower() for token in self.good_tokens)

    def _answer(self, writer: StreamWriter, answer: Scripted) -> None:
        headers = {"content-length": str(len(answer.body)), "connection": "close", **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body)


def _json(body: object) -> Scripted:
    return Scripted(status=200, headers={"content-type": "application/json"}, body=json.dumps(body).encode())


@asynccontextmanager
async def genesys_server() -> AsyncIterator[GenesysServer]:
    """A server on loopback, gone at the end with all its connections."""
    genesys = GenesysServer(Seen())
    serving: dict[asyncio.Task[None], StreamWriter] = {}

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving[task] = writer
        try:
            await genesys.serve(reader, writer)
        finally:
            del serving[task]

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    genesys.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield genesys
    finally:
        server.close()
        left = dict(serving)
        for writer in left.values():
            writer.transport.abort()
        if left:
            await asyncio.wait(left)
        await server.wait_closed()

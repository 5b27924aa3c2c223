"""A Genesys that does nothing but send: `python -m bench.source --interactions 2000`.

It answers the preflight, counts subscriptions, and sends frames that were made beforehand, in blocks, with blocking
writes: one process sends several 100,000 a second, so that it is not what is measured. It prints its address when it is
ready. `POST /send?frames=N&per_s=R&kind=text|gzip` sends N frames (`per_s` 0: as fast as they are taken) and answers,
when the last is handed to the kernel, with the seconds it took; `GET /subscribed` answers how many subscriptions came.
"""

import argparse
import gzip
import json
import socket
import sys
import threading
import time
from itertools import cycle
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bench.frames import Block, bodies, framed, gzip_blocks, marked, text_blocks

_DISTINCT = 20_000
_SOCKET = "/api/v2/agentassist/websocket"


class Source:
    """One listening port; the last WebSocket that was opened is the one that is sent to."""

    def __init__(self, *, interactions: int) -> None:
        self._frames = bodies(interactions, count=max(_DISTINCT, interactions))
        self._blocks: dict[str, list[Block]] = {"text": text_blocks(self._frames), "gzip": gzip_blocks(self._frames)}
        self._peer: socket.socket | None = None
        self._turn = threading.Lock()
        self._subscribed = 0

    def serve(self, listening: socket.socket) -> None:
        """Takes connections for ever, each in a thread of its own."""
        while True:
            peer, _ = listening.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._attend, args=(peer,), daemon=True).start()

    def _attend(self, peer: socket.socket) -> None:
        try:
            self._serve_peer(peer)
        except OSError:
            pass  # The client is gone, as clients of a benchmark go.
        finally:
            peer.close()

    def _serve_peer(self, peer: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = peer.recv(65_536)
            if not more:
                return
            head += more
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += peer.recv(65_536)
        url = urlsplit(head.split(b" ", 2)[1].decode())
        if url.path == _SOCKET:
            self._serve_socket(peer, head + b"\r\n\r\n")
        else:
            answer = json.dumps(self._answer(url.path, parse_qs(url.query))).encode()
            start = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
            peer.sendall(start + b"content-length: %d\r\n\r\n" % len(answer) + answer)

    def _answer(self, path: str, query: dict[str, list[str]]) -> object:
        match path.rpartition("/")[2]:
            case "token":
                return {"access_token": "token", "expires_in": 86_400}
            case "contentlibraries":
                return {"entities": [{"id": "library"}]}
            case "subscribed":
                return self._subscribed
            case "send":
                one = {name: values[0] for name, values in query.items()}
                return self._send(one["kind"], frames=int(one["frames"]), per_s=float(one["per_s"]))
            case _:
                return {"activeWebSocketConnections": 0}

    # -- the socket ----------------------------------------------------------------------------------------------------

    def _serve_socket(self, peer: socket.socket, head: bytes) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(head)
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        self._subscribed = 0
        self._flush(peer, protocol)
        self._peer = peer
        while data := peer.recv(65_536):
            protocol.receive_data(data)
            for event in protocol.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT and b'"subscribe"' in bytes(event.data):
                    self._subscribed += 1
            self._flush(peer, protocol)

    def _flush(self, peer: socket.socket, protocol: ServerProtocol) -> None:
        data = b"".join(protocol.data_to_send())
        if data:
            with self._turn:  # Never in the middle of a block.
                peer.sendall(data)

    def _send(self, kind: str, *, frames: int, per_s: float) -> dict[str, float]:
        peer = self._peer
        assert peer is not None, "nobody has opened a socket"
        started_s = time.monotonic()
        if per_s:
            self._send_paced(peer, kind, frames=frames, per_s=per_s)
        else:
            self._send_all(peer, kind, frames=frames)
        return {"seconds": time.monotonic() - started_s}

    def _send_all(self, peer: socket.socket, kind: str, *, frames: int) -> None:
        """Whole blocks of 1,000, so `frames` should be a multiple of that."""
        sent = 0
        for block in cycle(self._blocks[kind]):
            if sent >= frames:
                return
            block.mark(sent)
            with self._turn:
                peer.sendall(block.data)
            sent += 1_000

    def _send_paced(self, peer: socket.socket, kind: str, *, frames: int, per_s: float) -> None:
        """Each frame's mark is when it was sent, in microseconds since 1970."""
        is_text = kind == "text"
        due_s = time.monotonic()
        for _, frame in zip(range(frames), cycle(self._frames), strict=False):
            due_s += 1 / per_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            body = marked(frame, time.time_ns() // 1000)
            whole = framed(body if is_text else gzip.compress(body, 6, mtime=0), is_text=is_text)
            with self._turn:
                peer.sendall(whole)


def main() -> None:
    """Serves until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interactions", type=int, default=50)
    source = Source(interactions=parser.parse_args().interactions)
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    source.serve(listening)


if __name__ == "__main__":
    main()

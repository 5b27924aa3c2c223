"""Over real sockets, by a plain client."""

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from bridge.core.errors import StartError
from bridge.core.records import digest
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.rest import Library
from bridge.simulator.script import (
    AbortHandshakes,
    AbortSockets,
    Answer,
    BeSlow,
    Burst,
    CloseSockets,
    ExpireTokens,
    Garbage,
    Gzip,
    MuteSockets,
    RejectToken,
    SendFrame,
)
from tests.simulator.speaking import credentials, get, hear, hear_json, post, socket_to, subscribe, token_of

LIBRARIES = "/api/v2/agentassist/contentlibraries"
CONFIG = "/api/v2/agentassist/config"
TOKEN = "/api/v2/oauth/token"  # noqa: S105 - a path


async def status_of_handshake(genesys: GenesysSimulator, token: str, *, path: str | None = None) -> int:
    try:
        async with socket_to(genesys, token, **({} if path is None else {"path": path})):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


async def until_closed(socket: ClientConnection) -> tuple[int | None, list[bytes]]:
    """The close code that the server sent (None: no close frame), and the frames before it."""
    frames = []
    try:
        while True:
            frames.append(await hear(socket))
    except ConnectionClosed as error:
        return (None if error.rcvd is None else error.rcvd.code), frames


# -- REST --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (credentials(), 200),
        (credentials(client_id="nobody"), 400),
        (credentials(client_secret="guessed"), 401),  # noqa: S106 - a wrong one
        (credentials(grant_type="password"), 400),
        (["nonsense"], 400),
    ],
)
async def test_issues_tokens_for_the_right_credentials(body: object, status: int) -> None:
    """T1, T10: 400 and 401 for what no wait will mend."""
    async with GenesysSimulator() as genesys:
        answer = await post(genesys.base_url, TOKEN, body)

    assert answer.status_code == status
    if status == 200:
        assert answer.json()["access_token"]
        assert answer.json()["expires_in"] == 3600
    elif body != ["nonsense"]:
        assert answer.json()["error"] in {"invalid_client", "unsupported_grant_type"}


async def test_shows_libraries_and_quota_to_those_with_a_token() -> None:
    """T2, T3: libraries as they are set up, and the true number of open sockets."""
    libraries = (Library(id="a", name="A", enabled=False), Library(id="b"))
    async with GenesysSimulator(libraries=libraries) as genesys:
        token = await token_of(genesys)
        assert (await get(genesys, LIBRARIES)).status_code == 401
        assert (await get(genesys, LIBRARIES, token=token)).json() == {
            "entities": [{"id": "a", "name": "A", "enabled": False}, {"id": "b"}]
        }
        assert (await get(genesys, CONFIG, token=token)).json() == {"activeWebSocketConnections": 0}
        async with socket_to(genesys, token), socket_to(genesys, token):
            assert (await get(genesys, CONFIG, token=token)).json() == {"activeWebSocketConnections": 2}
        await genesys.until(lambda: genesys.state().open_sockets == 0)
        assert (await get(genesys, CONFIG, token=token)).json() == {"activeWebSocketConnections": 0}


async def test_a_token_is_good_until_it_expires() -> None:
    async with GenesysSimulator(token_lifetime_s=0) as genesys:
        assert (await get(genesys, CONFIG, token=await token_of(genesys))).status_code == 401


async def test_answers_by_script_and_then_as_ever() -> None:
    script = [Answer(name="busy", where="config", status=429, retry_after="3", count=2)]
    async with GenesysSimulator(script=script) as genesys:
        token = await token_of(genesys)
        await genesys.until(lambda: len(genesys.faults) == 1)
        answers = [await get(genesys, CONFIG, token=token) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "3"


async def test_rejects_good_tokens_by_script() -> None:
    async with GenesysSimulator(script=[RejectToken(name="no", count=2)]) as genesys:
        token = await token_of(genesys)
        await genesys.until(lambda: len(genesys.faults) == 1)
        assert await status_of_handshake(genesys, token) == 401
        assert (await get(genesys, CONFIG, token=token)).status_code == 401
        assert await status_of_handshake(genesys, token) == 101


async def test_is_slow_by_script() -> None:
    async with GenesysSimulator(script=[BeSlow(name="slow", delay_s=0.2, for_s=60)]) as genesys:
        await genesys.until(lambda: len(genesys.faults) == 1)
        began_s = asyncio.get_running_loop().time()
        token = await token_of(genesys)
        assert await status_of_handshake(genesys, token) == 101
        assert asyncio.get_running_loop().time() - began_s >= 0.4


async def test_is_slow_with_one_request_only() -> None:
    async with GenesysSimulator(script=[BeSlow(name="slow", delay_s=3600, for_s=60, where="handshake")]) as genesys:
        await genesys.until(lambda: len(genesys.faults) == 1)
        token = await token_of(genesys)
        assert (await get(genesys, CONFIG, token=token)).status_code == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), socket_to(genesys, token):
                pass


async def test_answers_with_any_body_and_redirects_by_script() -> None:
    script = [
        Answer(name="garbage", where="libraries", status=200, body="<html>"),
        Answer(name="elsewhere", where="config", status=302, location="/elsewhere"),
    ]
    async with GenesysSimulator(script=script) as genesys:
        await genesys.until(lambda: len(genesys.faults) == 2)
        token = await token_of(genesys)
        assert (await get(genesys, LIBRARIES, token=token)).content == b"<html>"
        redirect = await get(genesys, CONFIG, token=token)
        assert (redirect.status_code, redirect.headers["location"]) == (302, "/elsewhere")


# -- the handshake -----------------------------------------------------------------------------------------------------


async def test_refuses_handshakes_without_a_good_token_or_elsewhere() -> None:
    """T15: 401 on the handshake."""
    async with GenesysSimulator() as genesys:
        token = await token_of(genesys)
        assert await status_of_handshake(genesys, "made-up") == 401
        assert await status_of_handshake(genesys, token, path="/api/v2/other") == 404
        assert await status_of_handshake(genesys, token) == 101
        assert genesys.state().answers == {"token 200": 1, "handshake 401": 1, "handshake 101": 1, "handshake 404": 1}


@pytest.mark.parametrize("status", [403, 429, 503])
async def test_refuses_handshakes_by_script(status: int) -> None:
    script = [Answer(name="no", where="handshake", status=status, retry_after="1")]
    async with GenesysSimulator(script=script) as genesys:
        token = await token_of(genesys)
        with pytest.raises(InvalidStatus) as refused:
            async with socket_to(genesys, token):
                pass
        assert refused.value.response.status_code == status
        assert refused.value.response.headers["Retry-After"] == "1"
        assert await status_of_handshake(genesys, token) == 101


async def test_refuses_sockets_beyond_the_quota() -> None:
    """T3: the quota is on sockets."""
    async with GenesysSimulator(max_connections=1) as genesys:
        token = await token_of(genesys)
        async with socket_to(genesys, token):
            assert await status_of_handshake(genesys, token) == 429
        await genesys.until(lambda: genesys.state().open_sockets == 0)
        assert await status_of_handshake(genesys, token) == 101


# -- subscriptions -----------------------------------------------------------------------------------------------------


async def test_sends_suggestions_for_what_is_subscribed() -> None:
    """T4, T5: many interactions on one socket, plain text frames, each with a serial of its own."""
    async with GenesysSimulator(frames_per_s=500) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        await subscribe(socket, "i-1", "i-2")
        for interaction_id in ("i-1", "i-2"):
            reply = await hear_json(socket, type="subscribed")
            assert reply == {
                "type": "subscribed",
                "interactionId": interaction_id,
                "requestId": f"request-{interaction_id}",
            }
        bodies = [body for body in [await hear(socket) for _ in range(30)] if b'"suggestions"' in body]
        heard = [json.loads(body) for body in bodies]

        assert {frame["interactionId"] for frame in heard} == {"i-1", "i-2"}
        assert genesys.state().subscriptions == {"i-1": [1], "i-2": [1]}
        sent = {frame.serial: frame for frame in genesys.sent}
        for body, frame in zip(bodies, heard, strict=True):
            log = sent[frame["serial"]]
            assert (log.interaction_id, log.kind, log.socket) == (frame["interactionId"], "suggestions", 1)
            assert (log.encoding, log.digest) == ("text", digest(body))
            assert frame["sentAt"] <= log.at_ms


async def test_keeps_its_pace() -> None:
    """The rate is over all interactions, however many there are."""
    async with GenesysSimulator(frames_per_s=50) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        await subscribe(socket, "i-1", "i-2", "i-3")
        await hear_json(socket, type="suggestions")
        began_s = asyncio.get_running_loop().time()
        for _ in range(20):
            await hear_json(socket, type="suggestions")
        assert 0.25 <= asyncio.get_running_loop().time() - began_s <= 3


async def test_sends_nothing_more_after_unsubscribed() -> None:
    async with GenesysSimulator(frames_per_s=500) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        await subscribe(socket, "i-1", "i-2")
        await hear_json(socket, type="suggestions")
        await socket.send('{"type":"unsubscribe","interactionId":"i-1","requestId":"r"}')
        await hear_json(socket, type="unsubscribed")
        heard = [json.loads(await hear(socket)) for _ in range(20)]
        assert {frame["interactionId"] for frame in heard} == {"i-2"}
        assert genesys.state().subscriptions == {"i-2": [1]}


async def test_answers_what_it_cannot_take_with_an_error() -> None:
    async with GenesysSimulator(refuse={"i-9"}) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        await subscribe(socket, "i-9")
        refused = await hear_json(socket, type="error")
        assert (refused["requestId"], refused["interactionId"], refused["code"]) == ("request-i-9", "i-9", "forbidden")
        await socket.send('{"type":"dance"}')
        assert (await hear_json(socket, type="error"))["code"] == "invalid_request"
        await socket.send(b"\xff")
        assert (await hear_json(socket, type="error"))["code"] == "invalid_json"
        await socket.send(["{", '"type"', ":1}"])
        assert (await hear_json(socket, type="error"))["code"] == "invalid_request"
        assert genesys.state().subscriptions == {}


async def test_an_interaction_on_two_sockets_sends_the_same_frame_to_both() -> None:
    async with GenesysSimulator(frames_per_s=0) as genesys:
        token = await token_of(genesys)
        async with socket_to(genesys, token) as one, socket_to(genesys, token) as other:
            for socket in (one, other):
                await subscribe(socket, "i-1")
                await hear_json(socket, type="subscribed")
            genesys.post(Burst(name="one", frames=1))
            assert await hear(one) == await hear(other)
            assert [(frame.serial, frame.socket) for frame in genesys.sent] == [(1, 1), (1, 2)]


async def test_a_client_that_does_not_read_holds_up_no_other() -> None:
    async with GenesysSimulator(frames_per_s=0) as genesys:
        token = await token_of(genesys)
        async with socket_to(genesys, token) as slow, socket_to(genesys, token) as quick:
            await subscribe(slow, "i-slow")
            await hear_json(slow, type="subscribed")
            genesys.post(Burst(name="flood", frames=4_000))
            await genesys.until(lambda: genesys.state().pauses == 1)
            await subscribe(quick, "i-quick")
            await hear_json(quick, type="subscribed")
            for _ in range(200):
                assert (await hear_json(quick, type="suggestions"))["interactionId"] == "i-quick"
            assert genesys.state().pauses == 1


async def test_counts_the_pauses_of_a_client() -> None:
    async with GenesysSimulator(frames_per_s=0) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        await subscribe(socket, "i-1")
        await hear_json(socket, type="subscribed")
        genesys.post(Burst(name="flood", frames=20_000))
        await genesys.until(lambda: genesys.state().pauses == 1)
        assert not await genesys.stop_sending(timeout_s=0.1)
        assert not genesys.sent[-1].completed
        while not genesys.state().is_quiet:
            await hear(socket)
        assert genesys.sent[-1].completed
        assert genesys.state().paused_s > 0.2


async def test_resets_a_client_that_takes_nothing_for_too_long() -> None:
    async with GenesysSimulator(frames_per_s=0, patience_s=0.3) as genesys:
        async with socket_to(genesys, await token_of(genesys)) as socket:
            await subscribe(socket, "i-1")
            genesys.post(Burst(name="flood", frames=20_000))
            await genesys.until(lambda: len(genesys.state().closes) == 1)
        assert not genesys.sent[-1].completed


async def _ask_without_end(socket: ClientConnection) -> None:
    while True:
        await socket.send("what?")


async def test_resets_a_client_that_asks_and_does_not_listen() -> None:
    async with GenesysSimulator() as genesys:
        async with socket_to(genesys, await token_of(genesys)) as socket:
            socket.transport.pause_reading()
            with pytest.raises(ConnectionClosed):
                await _ask_without_end(socket)
        await genesys.until(lambda: len(genesys.state().closes) == 1)
        assert genesys.state().closes[0].code == 1006


async def test_sends_heartbeats_while_it_has_nothing_else_to_say() -> None:
    async with GenesysSimulator(heartbeat_s=0.02) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        assert await hear(socket) == b'{"type":"heartbeat"}'
        assert await hear(socket) == b'{"type":"heartbeat"}'
        assert genesys.sent == []


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_closes_with_a_code() -> None:
    """T8: any close code, from the server."""
    async with GenesysSimulator() as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        genesys.post(CloseSockets(name="away", code=4009))
        code, _ = await until_closed(socket)
        await genesys.until(lambda: len(genesys.state().closes) == 1)

        assert code == 4009
        (close,) = genesys.state().closes
        assert (close.socket, close.code, close.by) == (1, 4009, "server")
        assert genesys.state().open_sockets == 0


async def test_expires_tokens_and_closes_with_4001() -> None:
    """T8: 4001 means a new token."""
    async with GenesysSimulator() as genesys:
        token = await token_of(genesys)
        async with socket_to(genesys, token) as socket:
            genesys.post(ExpireTokens(name="expired"))
            code, _ = await until_closed(socket)
        assert code == 4001
        assert await status_of_handshake(genesys, token) == 401
        assert await status_of_handshake(genesys, await token_of(genesys)) == 101


async def test_resets_the_connection() -> None:
    async with GenesysSimulator() as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        genesys.post(AbortSockets(name="reset"))
        code, _ = await until_closed(socket)
        await genesys.until(lambda: len(genesys.state().closes) == 1)
        assert code is None
        assert genesys.state().closes[0].code == 1006


async def test_resets_the_connection_in_mid_frame() -> None:
    async with GenesysSimulator() as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        genesys.post(AbortSockets(name="reset", mid_frame=True))
        assert await until_closed(socket) == (None, [])


async def test_resets_the_connection_in_the_handshake() -> None:
    script = [AbortHandshakes(name="reset", count=2)]
    async with GenesysSimulator(script=script) as genesys:
        token = await token_of(genesys)
        for _ in range(2):
            with pytest.raises(InvalidMessage):
                await status_of_handshake(genesys, token)
        assert await status_of_handshake(genesys, token) == 101
        assert genesys.state().answers == {"token 200": 1, "handshake 101": 1}


async def test_is_half_open_by_script() -> None:
    """Nothing comes any more, not even a pong, and nobody says that it has ended; the quota counts it."""
    async with GenesysSimulator(frames_per_s=500, heartbeat_s=0.01) as genesys:
        async with socket_to(genesys, await token_of(genesys)) as socket:
            await subscribe(socket, "i-1")
            await hear_json(socket, type="suggestions")
            genesys.post(MuteSockets(name="mute"))
            await genesys.until(lambda: len(genesys.faults) == 1)
            sent = len(genesys.sent)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await (await socket.ping())
            assert len(genesys.sent) == sent
            assert genesys.state().open_sockets == 1
            socket.transport.abort()
        await genesys.until(lambda: genesys.state().open_sockets == 0)


async def test_sees_the_code_with_which_a_client_closes() -> None:
    """D4: a stop closes the socket with 1000, seen by the server."""
    async with GenesysSimulator() as genesys:
        for code in (1000, 4321):
            async with socket_to(genesys, await token_of(genesys)) as socket:
                await socket.close(code)
        await genesys.until(lambda: len(genesys.state().closes) == 2)

        assert [(close.code, close.by) for close in genesys.state().closes] == [(1000, "client"), (4321, "client")]


async def test_sees_a_client_that_vanishes() -> None:
    async with GenesysSimulator() as genesys:
        async with socket_to(genesys, await token_of(genesys)) as socket:
            socket.transport.abort()
        await genesys.until(lambda: len(genesys.state().closes) == 1)
        assert (genesys.state().closes[0].code, genesys.state().closes[0].by) == (1006, "client")


async def test_sends_gzip_in_binary_frames() -> None:
    """T5: gzip frames (magic 1f 8b)."""
    async with GenesysSimulator(frames_per_s=0) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        await subscribe(socket, "i-1")
        await hear_json(socket, type="subscribed")
        genesys.post(Gzip(name="zip", frames=1), Burst(name="two", frames=2))
        async with asyncio.timeout(10):
            zipped, plain = await socket.recv(), await socket.recv()

        assert isinstance(zipped, bytes)
        assert isinstance(plain, str)
        assert json.loads(gzip.decompress(zipped))["serial"] == 1
        assert [frame.encoding for frame in genesys.sent] == ["gzip", "text"]
        assert genesys.sent[0].digest == digest(gzip.decompress(zipped))


async def test_sends_garbage_even_text_that_is_not_utf_8() -> None:
    async with GenesysSimulator(frames_per_s=0) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        genesys.post(Garbage(name="rubbish", count=8))
        heard = [await hear(socket) for _ in range(8)]

        assert any(b"\xff\xfe" in body for body in heard)
        assert [frame.kind for frame in genesys.sent] == ["garbage"] * 8
        assert [base64.b64decode(frame.body or "") for frame in genesys.sent] == heard


async def test_sends_a_frame_as_it_is_given() -> None:
    """Two equal frames on one socket."""
    frame = '{"interactionId":"i-1","suggestions":[]}'
    async with GenesysSimulator(frames_per_s=0) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        genesys.post(SendFrame(name="twice", body=frame, times=2), SendFrame(name="bytes", body_binary=b"\x00\xff"))
        assert [await hear(socket) for _ in range(3)] == [frame.encode(), frame.encode(), b"\x00\xff"]
        assert [one.kind for one in genesys.sent] == ["verbatim"] * 3


async def test_what_has_no_socket_yet_waits_for_one() -> None:
    async with GenesysSimulator(frames_per_s=0) as genesys:
        genesys.post(Garbage(name="early"), Burst(name="early too", frames=1))
        async with socket_to(genesys, await token_of(genesys)) as socket:
            await hear(socket)
            await subscribe(socket, "i-1")
            assert (await hear_json(socket, type="suggestions"))["interactionId"] == "i-1"


# -- the books ---------------------------------------------------------------------------------------------------------


async def test_every_frame_heard_is_in_the_books_and_the_other_way_round() -> None:
    """Bursts, gzip and two sockets: what was sent is what arrived."""
    async with GenesysSimulator(frames_per_s=300) as genesys:
        token = await token_of(genesys)
        async with socket_to(genesys, token) as one, socket_to(genesys, token) as other:
            await subscribe(one, "i-1", "i-2")
            await subscribe(other, "i-3")
            genesys.post(Burst(name="flood", frames=500), Gzip(name="zip", frames=20))
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(until_closed(one))
                second = tasks.create_task(until_closed(other))
                await genesys.until(lambda: len(genesys.sent) > 600)
                assert await genesys.stop_sending()
                genesys.post(CloseSockets(name="end", code=1000))
        heard = [
            json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
            for body in first.result()[1] + second.result()[1]
        ]

        assert all(frame.completed for frame in genesys.sent)
        assert sorted(frame["serial"] for frame in heard if "serial" in frame) == [
            frame.serial for frame in sorted(genesys.sent, key=lambda frame: frame.serial)
        ]


async def test_the_same_seed_sends_the_same() -> None:
    async def bodies(seed: int) -> list[str]:
        genesys = GenesysSimulator(frames_per_s=0, seed=seed)
        async with genesys, socket_to(genesys, await token_of(genesys)) as socket:
            await subscribe(socket, "i-1", "i-2")
            await hear_json(socket, type="subscribed")
            await hear_json(socket, type="subscribed")
            genesys.post(Burst(name="ten", frames=10))
            return [_without_times(json.loads(await hear(socket))) for _ in range(10)]

    assert await bodies(3) == await bodies(3)
    assert await bodies(3) != await bodies(4)


def _without_times(frame: dict[str, Any]) -> str:
    for suggestion in frame["suggestions"]:
        del suggestion["sentAt"]
    return json.dumps(frame | {"sentAt": 0})


# -- control over HTTP -------------------------------------------------------------------------------------------------


async def test_is_steered_and_read_over_http() -> None:
    async with GenesysSimulator(frames_per_s=0) as genesys, socket_to(genesys, await token_of(genesys)) as socket:
        await subscribe(socket, "i-1")
        await hear_json(socket, type="subscribed")
        posted = await post(genesys.base_url, "/simulator/faults", {"fault": "burst", "name": "b", "frames": 2})
        assert posted.json() == {"posted": ["b"]}
        await hear_json(socket, type="suggestions")
        await hear_json(socket, type="suggestions")
        paused = (await post(genesys.base_url, "/simulator/pause")).json()
        assert paused["isPaused"]
        stopped = (await post(genesys.base_url, "/simulator/stop-sending")).json()
        assert stopped["isQuiet"]
        assert not (await post(genesys.base_url, "/simulator/resume")).json()["isPaused"]

        sent = (await get(genesys, "/simulator/sent")).json()
        assert [(frame["serial"], frame["interactionId"], frame["completed"]) for frame in sent] == [
            (1, "i-1", True),
            (2, "i-1", True),
        ]
        state = (await get(genesys, "/simulator/state")).json()
        assert state["subscriptions"] == {"i-1": [1]}
        assert [fault["name"] for fault in state["faults"]] == ["b"]


async def test_refuses_faults_that_it_does_not_know() -> None:
    async with GenesysSimulator() as genesys:
        answer = await post(genesys.base_url, "/simulator/faults", {"fault": "earthquake", "name": "x"})
        assert answer.status_code == 400
        assert "earthquake" in answer.json()["error"]


# -- start and stop ----------------------------------------------------------------------------------------------------


async def test_stops_with_sockets_open() -> None:
    async with GenesysSimulator(frames_per_s=500) as genesys:
        socket = await socket_to(genesys, await token_of(genesys)).__aenter__()
        await subscribe(socket, "i-1")
        await hear_json(socket, type="suggestions")
    code, _ = await until_closed(socket)
    await socket.close()

    assert code == 1001


async def test_stops_with_a_client_that_does_not_read() -> None:
    async with GenesysSimulator(frames_per_s=0) as genesys:
        socket = await socket_to(genesys, await token_of(genesys)).__aenter__()
        await subscribe(socket, "i-1")
        genesys.post(Burst(name="flood", frames=20_000))
        await genesys.until(lambda: genesys.state().pauses == 1)
    socket.transport.abort()


async def test_says_when_its_address_is_taken() -> None:
    async with GenesysSimulator() as genesys:
        port = int(genesys.base_url.rpartition(":")[2])
        with pytest.raises(StartError, match=f"127.0.0.1:{port}"):
            async with GenesysSimulator(port=port):
                pass

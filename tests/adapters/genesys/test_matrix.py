"""Every row of the reconnect matrix over a real socket: what is expected is read off the table, not written here."""

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from bridge.core.errors import StartError
from bridge.core.events.genesys import QuotaFree, QuotaFull, ReconnectScheduled, ResumeScheduled, SocketClosed
from bridge.core.matrix import MATRIX, Row, event_of
from bridge.core.reconnect import rule_of
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.script import (
    AbortHandshakes,
    AbortSockets,
    Answer,
    BeSlow,
    CloseSockets,
    ExpireTokens,
    Fault,
    MuteSockets,
    SendFrame,
)
from bridge.telemetry import name_of
from tests.adapters.genesys.moving import START_MS
from tests.adapters.genesys.playing import CHANCE, INTERACTION, Play, Scheduled, delay_of, playing

_ROWS = {row.what: row for row in MATRIX}
_EXPIRED_S = 3600.0
_ASKED_S = 7.0


@dataclass(slots=True)
class Scene:
    """How a row comes about.

    `faults` stand ready before; `happen` brings it about with an open socket and returns what Retry-After asked for, if
    it did; `mend` undoes it. `is_without_token`: the row is about getting a token, so one is got afterwards.
    """

    happen: Callable[[Play], Awaitable[float | None]]
    faults: tuple[Fault, ...] = ()
    mend: Callable[[Play], Awaitable[None]] | None = None
    is_without_token: bool = False
    options: dict[str, Any] = field(default_factory=dict)


# -- how rows come about -----------------------------------------------------------------------------------------------


def closed(*faults: Fault) -> Scene:
    """The open socket ends in this way."""

    async def happen(play: Play) -> None:
        play.post(*faults)

    return Scene(happen)


def closed_again(fault: Fault) -> Scene:
    """The open socket ends in this way, and the next one, before it was good, too."""

    async def happen(play: Play) -> None:
        play.post(fault)
        await play.wait_out()
        await play.until_subscribed(2)
        play.post(fault)

    return Scene(happen)


def opening(*faults: Fault, asked_s: float | None = None, times: int = 1, **options: Any) -> Scene:
    """The socket is closed as it should be, and cannot be opened again."""

    async def happen(play: Play) -> float | None:
        play.post(*faults, CloseSockets(name="away", code=1001))
        for _ in range(times):
            await play.wait_out()
        return asked_s

    return Scene(happen, faults=faults, options=options)


def opening_by_date(*, status: int) -> Scene:
    """The same; Retry-After names a time."""
    at_s = START_MS / 1000 + _ASKED_S
    fault = Answer(name="date", where="handshake", status=status, retry_after=formatdate(at_s, usegmt=True))

    async def happen(play: Play) -> float:
        play.post(fault, CloseSockets(name="away", code=1001))
        await play.wait_out()
        return at_s - play.time.clock() / 1000

    return Scene(happen, faults=(fault,))


def token(*faults: Fault, asked_s: float | None = None, **options: Any) -> Scene:
    """The token is about to end when the socket is to be opened again, and no new one is to be had."""

    async def happen(play: Play) -> float | None:
        play.time.skip(_EXPIRED_S)
        play.post(*faults, CloseSockets(name="away", code=1001))
        await play.wait_out()
        return asked_s

    return Scene(happen, faults=faults, is_without_token=True, options=options)


def library(body: str) -> Scene:
    """The library is not what it was when Genesys refuses the token."""
    fault = Answer(name="library", where="libraries", status=200, body=body)

    async def happen(play: Play) -> None:
        play.post(fault, ExpireTokens(name="expired"))
        await play.wait_out()

    return Scene(happen, faults=(fault,))


async def half_open(play: Play) -> None:
    play.post(MuteSockets(name="mute"))
    await play.genesys.until(lambda: len(play.genesys.faults) == 2)
    await play.time.advance_until(lambda: play.told(ReconnectScheduled), at_most_s=62)


async def quota_full(play: Play) -> None:
    play.post(CloseSockets(name="away", code=1001))
    await play.until_scheduled()
    await play.genesys.until(lambda: play.genesys.state().open_sockets == 0)
    await play.fill_quota()
    play.time.advance(play.time.waits_s[0])


def refused(status: int, **more: Any) -> Answer:
    return Answer(name=f"handshake {status}", where="handshake", status=status, **more)


def no_token(status: int, **more: Any) -> Answer:
    return Answer(name=f"token {status}", where="token", status=status, **more)


SLOW: dict[str, Any] = {"request_timeout_s": 1.0}
NO_LIBRARY = '{"entities":[{"id":"another"}]}'
DISABLED_LIBRARY = '{"entities":[{"id":"library-1","enabled":false}]}'
HUGE = SendFrame(name="huge", body="x" * (8 * 1024 * 1024 + 1))

SCENES: dict[str, Scene] = {
    "close 1000 (normal)": closed(CloseSockets(name="1000", code=1000)),
    "close 1001 (going away)": closed(CloseSockets(name="1001", code=1001)),
    "close 1002 (protocol error)": closed(CloseSockets(name="1002", code=1002)),
    "close 1003 (unsupported data)": closed(CloseSockets(name="1003", code=1003)),
    "1006: the TCP connection is reset": closed(AbortSockets(name="reset")),
    "1006: … in the handshake": opening(AbortHandshakes(name="reset")),
    "1006: … in mid-frame": closed(AbortSockets(name="reset", mid_frame=True)),
    "close 1007 (invalid text)": closed(CloseSockets(name="1007", code=1007)),
    "close 1008 (policy)": closed(CloseSockets(name="1008", code=1008)),
    "close 1009 (too big), from either side": closed(CloseSockets(name="1009", code=1009)),
    "close 1011 (internal error)": closed(CloseSockets(name="1011", code=1011)),
    "close 1012 (service restart)": closed(CloseSockets(name="1012", code=1012)),
    "close 1013 (try again later)": closed(CloseSockets(name="1013", code=1013)),
    "close 4001 (token)": closed(ExpireTokens(name="expired")),
    "close 4001, again": closed_again(ExpireTokens(name="expired")),
    "any other close 4xxx": closed(CloseSockets(name="4009", code=4009)),
    "half-open: no pong, no frame": Scene(half_open),
    "handshake: 401": opening(refused(401)),
    "handshake: 401, again": opening(refused(401, count=2), times=2),
    "handshake: 403": opening(refused(403)),
    "handshake: 404": opening(refused(404)),
    "handshake: 429": opening(refused(429)),
    "handshake: 429, Retry-After in seconds": opening(refused(429, retry_after="7"), asked_s=_ASKED_S),
    "handshake: 429, Retry-After as a date": opening_by_date(status=429),
    "handshake: 503": opening(refused(503)),
    "handshake: 503, Retry-After in seconds": opening(refused(503, retry_after="7"), asked_s=_ASKED_S),
    "handshake: 503, Retry-After as a date": opening_by_date(status=503),
    "handshake: any other 5xx": opening(refused(502)),
    "handshake: a redirect (not followed)": opening(refused(302, location="/elsewhere")),
    "no answer within `genesys.request_timeout_s`": opening(
        BeSlow(name="slow", where="handshake", delay_s=3600, count=1), **SLOW
    ),
    "token: 400 invalid_client": token(no_token(400, body='{"error":"invalid_client"}')),
    "token: 401": token(no_token(401)),
    "token: 429": token(no_token(429)),
    "token: 429, Retry-After": token(no_token(429, retry_after="7"), asked_s=_ASKED_S),
    "token: 5xx": token(no_token(503)),
    "token: garbage": token(no_token(200, body="<html>")),
    "token: slow": token(BeSlow(name="slow", where="token", delay_s=3600, count=1), **SLOW),
    "content library missing": library(NO_LIBRARY),
    "content library disabled": library(DISABLED_LIBRARY),
    "quota full, until it is free again": Scene(quota_full, mend=Play.free_quota, options={"max_connections": 1}),
}


# -- what is expected --------------------------------------------------------------------------------------------------


def failures_of(scheduled: object) -> int:
    return scheduled.failures if isinstance(scheduled, ReconnectScheduled) else 0


def check_delay(row: Row, scheduled: Scheduled, *, asked_s: float | None) -> None:
    """T7, T8: the delay that the table names, with the options' defaults."""
    rule, delay_s, failures = rule_of(row.cause), delay_of(scheduled), failures_of(scheduled)
    assert (asked_s is not None) == row.asks
    if asked_s is not None:
        assert delay_s == pytest.approx(asked_s + CHANCE)
    elif rule.delay == "poll":
        assert delay_s == 5.0
    elif rule.delay == "at once" and not row.is_again:
        assert 0 < delay_s < 1
    elif rule.delay == "cap":
        assert delay_s == 30 + CHANCE
    else:
        assert failures
        assert delay_s == min(2.0**failures, 30) + CHANCE


def check_told(play: Play, row: Row, scheduled: Scheduled) -> None:
    """One event and one metric for the row's cause; a failure is one more, and nothing else is."""
    rule = rule_of(row.cause)
    assert name_of(type(scheduled)) == event_of(rule)
    assert isinstance(scheduled, ReconnectScheduled) == rule.is_failure
    if isinstance(scheduled, QuotaFull):
        assert play.metric("bridge_genesys_quota_full", socket="0") == 1
        return
    assert scheduled.cause == row.cause
    all_told = [event for event in play.told(ReconnectScheduled, ResumeScheduled) if event.cause == row.cause]  # type: ignore[attr-defined]
    assert play.metric("bridge_genesys_reconnects_total", cause=row.cause) == len(all_told)
    if rule.is_failure:
        assert [failures_of(event) for event in play.told(ReconnectScheduled)] == [
            number + 1 for number in range(len(play.told(ReconnectScheduled)))
        ]
        assert play.metric("bridge_genesys_failures_in_a_row", socket="0") == failures_of(scheduled)


async def check_row(play: Play, row: Row, scene: Scene) -> None:
    rule = rule_of(row.cause)
    await play.until_subscribed(1)
    await play.until_taken_one_more()
    asked_s = await scene.happen(play)
    scheduled = await play.until_scheduled()
    opened, tokens = play.opened, play.tokens
    check_told(play, row, scheduled)
    check_delay(row, scheduled, asked_s=asked_s)
    (condition,) = play.sockets.conditions()
    assert condition.is_ready == (not rule.is_permanent and rule.delay != "poll")
    assert rule.remedy in condition.reason or condition.is_ready
    assert not play.task.done()
    if scene.mend is not None:
        await scene.mend(play)
    # Nothing happens before: somebody sleeps for just as long.
    await play.time.until_someone_sleeps(delay_of(scheduled))
    assert play.opened == opened
    play.time.advance(delay_of(scheduled))
    await play.until_subscribed(opened + 1)
    assert play.sockets.conditions()[0].is_ready
    assert play.tokens - tokens == rule.renews_token + scene.is_without_token
    assert play.intake.history(INTERACTION)[-2].startswith("disconnected: ")
    await play.until_taken_one_more()
    if isinstance(scheduled, QuotaFull):
        assert len(play.told(QuotaFree)) == 1
        assert play.metric("bridge_genesys_quota_full", socket="0") == 0


@pytest.mark.parametrize("what", SCENES)
async def test_a_row_of_the_matrix_with_a_good_start(what: str) -> None:
    """T1, T2, T3, T7, T8, T15, D3, D10: renewed? delay? counted? resumed? told? as the table says."""
    row, scene = _ROWS[what], SCENES[what]
    async with GenesysSimulator(frames_per_s=0) as genesys, playing(genesys, INTERACTION, **scene.options) as play:
        await check_row(play, row, scene)


@pytest.mark.parametrize("what", [what for what, scene in SCENES.items() if scene.faults])
async def test_a_row_of_the_matrix_at_the_start(what: str) -> None:
    """T2, T15: what only an operator can mend ends the run, in one line that says how; all else is tried again."""
    row, scene = _ROWS[what], SCENES[what]
    rule = rule_of(row.cause)
    async with GenesysSimulator(frames_per_s=0, script=scene.faults) as genesys:
        await genesys.until(lambda: len(genesys.faults) == len(scene.faults))
        async with playing(genesys, INTERACTION, **scene.options) as play:
            if rule.is_permanent:
                async with asyncio.timeout(20):
                    with pytest.raises(StartError) as raised:
                        await play.task
                assert "\n" not in str(raised.value)
                assert str(raised.value) == f"{raised.value.problem}; {raised.value.remedy}"
                assert play.told(ReconnectScheduled) == []
                return
            if row.is_again:
                await play.wait_out()
            scheduled = await play.until_scheduled()
            check_told(play, row, scheduled)
            check_delay(row, scheduled, asked_s=_ASKED_S if row.asks else None)
            (condition,) = play.sockets.conditions()
            assert not condition.is_ready
            assert condition.reason.endswith(f"; {rule.remedy}")
            await play.time.until_someone_sleeps(delay_of(scheduled))
            play.time.advance(delay_of(scheduled))
            await play.until_subscribed(1)
            assert play.sockets.conditions()[0].is_ready


@pytest.mark.parametrize("what", [what for what in SCENES if rule_of(_ROWS[what].cause).is_permanent])
async def test_a_permanent_refusal_after_a_good_start_is_tried_at_the_cap_and_says_what_to_do(what: str) -> None:
    """The process stays up, unready, for as long as it takes."""
    scene = SCENES[what]
    async with GenesysSimulator(frames_per_s=0) as genesys, playing(genesys, INTERACTION, **scene.options) as play:
        await play.until_subscribed(1)
        await scene.happen(play)
        for _ in range(3):
            scheduled = await play.until_scheduled()
            assert delay_of(scheduled) == 30 + CHANCE
            (condition,) = play.sockets.conditions()
            assert not condition.is_ready
            assert re.search(r"; (grant the scope|check genesys\.|enable it in Genesys)", condition.reason)
            done = len(genesys.faults) + len(scene.faults)
            play.post(*scene.faults)
            await genesys.until(lambda done=done: len(genesys.faults) == done)  # type: ignore[misc]
            await play.time.until_someone_sleeps(30 + CHANCE)
            play.time.advance(30 + CHANCE)
        assert not play.task.done()


# -- names, ports and certificates -------------------------------------------------------------------------------------


class Names:
    """Takes the place of the system's resolver: `genesys.test` is on loopback, nowhere, or where nobody listens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._getaddrinfo = socket.getaddrinfo
        self.is_known = True
        self.is_served = True
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)

    def look_up(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host not in {"genesys.test", b"genesys.test"}:
            return self._getaddrinfo(host, port, *args, **more)
        if not self.is_known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._getaddrinfo("127.0.0.1", port if self.is_served else 1, *args, **more)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


async def test_the_row_of_a_host_that_is_not_there(names: Names) -> None:
    async def happen(play: Play) -> None:
        names.is_known = False
        play.post(CloseSockets(name="away", code=1001))
        await play.wait_out()

    async def mend(_: Play) -> None:
        names.is_known = True

    async with GenesysSimulator(frames_per_s=0) as genesys:
        base_url = genesys.base_url.replace("127.0.0.1", "genesys.test")
        async with playing(genesys, INTERACTION, base_url=base_url) as play:
            await check_row(play, _ROWS["no such host"], Scene(happen, mend=mend))


async def test_the_row_of_a_connection_that_is_refused(names: Names) -> None:
    async def happen(play: Play) -> None:
        names.is_served = False
        play.post(CloseSockets(name="away", code=1001))
        await play.wait_out()

    async def mend(_: Play) -> None:
        names.is_served = True

    async with GenesysSimulator(frames_per_s=0) as genesys:
        base_url = genesys.base_url.replace("127.0.0.1", "genesys.test")
        async with playing(genesys, INTERACTION, base_url=base_url) as play:
            await check_row(play, _ROWS["connection refused"], Scene(happen, mend=mend))


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two certificates with their keys, of which the first is trusted."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificates, is not there")
    made = tmp_path / "trusted.pem", tmp_path / "other.pem"
    for path in made:
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", path, "-out", f"{path}.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
        path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))
    return made


@asynccontextmanager
async def behind_tls(genesys: GenesysSimulator, context: ssl.SSLContext) -> AsyncIterator[str]:
    """The simulator behind a server that speaks TLS."""
    host, port = genesys.base_url.removeprefix("http://").split(":")
    tasks: set[asyncio.Task[None]] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        there, here = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, here), pump(there, writer))
        tasks.discard(task)

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def test_the_row_of_a_tls_failure(certificates: tuple[Path, Path]) -> None:
    """The certificate is not one that is trusted."""
    trusted, other = certificates
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted)

    async def happen(play: Play) -> None:
        context.load_cert_chain(other)
        play.post(CloseSockets(name="away", code=1001))
        await play.wait_out()

    async def mend(_: Play) -> None:
        context.load_cert_chain(trusted)

    async with (
        GenesysSimulator(frames_per_s=0) as genesys,
        behind_tls(genesys, context) as base_url,
        playing(genesys, INTERACTION, base_url=base_url) as play,
    ):
        await check_row(play, _ROWS["TLS failure"], Scene(happen, mend=mend))


# -- beside the table --------------------------------------------------------------------------------------------------


def test_every_row_of_the_matrix_has_a_test() -> None:
    assert _ROWS.keys() - SCENES.keys() == {"no such host", "connection refused", "TLS failure"}
    assert SCENES.keys() <= _ROWS.keys()


@pytest.mark.parametrize("value", ["86400", formatdate(START_MS / 1000 + 86_400, usegmt=True)])
async def test_retry_after_is_capped(value: str) -> None:
    """T15, D10: in seconds, and as a date."""
    script = [refused(429, retry_after=value)]
    async with GenesysSimulator(frames_per_s=0, script=script) as genesys:
        await genesys.until(lambda: len(genesys.faults) == 1)
        async with playing(genesys, INTERACTION, retry_after_max_s=40) as play:
            assert delay_of(await play.until_scheduled()) == 40 + CHANCE


async def test_a_redirect_is_not_followed() -> None:
    """The token is meant for `genesys.base_url` alone."""
    async with GenesysSimulator(frames_per_s=0) as elsewhere, GenesysSimulator(frames_per_s=0) as genesys:
        genesys.post(refused(302, location=elsewhere.base_url))
        await genesys.until(lambda: len(genesys.faults) == 1)
        async with playing(genesys, INTERACTION) as play:
            await play.wait_out()
            await play.until_subscribed(1)
        assert elsewhere.state().answers == {}


async def test_a_message_above_the_bound_is_closed_with_1009_by_us() -> None:
    """D7: the other side of the row."""
    async with GenesysSimulator(frames_per_s=0) as genesys, playing(genesys, INTERACTION) as play:
        await play.until_subscribed(1)
        play.post(HUGE)
        scheduled = await play.until_scheduled()
        check_told(play, _ROWS["close 1009 (too big), from either side"], scheduled)
        assert [closed.code for closed in play.events if isinstance(closed, SocketClosed)] == [1009]


async def test_a_normal_closure_ends_the_subscriptions_where_the_option_says_so() -> None:
    """T8: `finish`; every other end of a socket subscribes again all the same."""
    async with (
        GenesysSimulator(frames_per_s=0) as genesys,
        playing(genesys, INTERACTION, on_normal_closure="finish") as play,
    ):
        await play.until_subscribed(1)
        play.post(CloseSockets(name="1012", code=1012))
        await play.wait_out()
        await play.until_subscribed(2)
        play.post(CloseSockets(name="1000", code=1000))
        await play.wait_out()
        assert play.intake.history(INTERACTION)[-1] == "finished: closed"
        assert play.opened == 2

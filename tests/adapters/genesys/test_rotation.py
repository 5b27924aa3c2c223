"""Before its token ends a socket is replaced, without a gap, and without writing twice what both deliver."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bridge.adapters.genesys.line import OVERLAP_S
from bridge.core.events.genesys import (
    DuplicatesSuppressed,
    ReconnectScheduled,
    RotationPutOff,
    SocketClosed,
    SocketOpened,
    SocketRotated,
)
from bridge.core.records import digest
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.script import Burst, ExpireTokens
from tests.adapters.genesys.moving import MovingTime
from tests.adapters.genesys.playing import INTERACTION, Play, playing
from tests.adapters.genesys.running import Running, running
from tests.adapters.genesys.server import GenesysServer, Peer, Scripted

LIFE_S = 3600.0
BEFORE_S = 60.0
# A silence of an hour that the clock makes is nobody's fault.
ROTATING: dict[str, Any] = {"rotate_before_s": BEFORE_S, "idle_timeout_s": 3600.0, "quota_poll_s": 5.0}


# -- against the simulator: what is sent, and what is taken ------------------------------------------------------------


async def until_both_are_open(play: Play, sockets: int) -> None:
    """So many sockets have been opened, and the last two carry the interaction."""
    play.time.advance(LIFE_S - BEFORE_S)
    await play.until_subscribed(sockets)
    await play.time.until_someone_sleeps(OVERLAP_S)


def suppressed(play: Play) -> int:
    return sum(event.frames for event in play.events if isinstance(event, DuplicatesSuppressed))


async def until_sent(genesys: GenesysSimulator, frames: int) -> None:
    await genesys.until(lambda: genesys.state().frames_sent >= frames)


async def until_rotated(play: Play, times: int) -> None:
    await play.seen.until(lambda: len(play.told(SocketRotated)) == times)


def check_books(play: Play) -> None:
    """Everything that was sent was taken, and nothing twice."""
    sent = {frame.digest for frame in play.genesys.sent if frame.kind == "suggestions"}
    taken = Counter(digest(frame.value) for frame in play.intake.suggestions())
    assert taken.keys() == sent
    assert set(taken.values()) <= {1}


async def test_the_next_socket_subscribes_with_a_fresh_token_before_the_old_one_closes() -> None:
    async with GenesysSimulator(frames_per_s=0) as genesys, playing(genesys, INTERACTION, **ROTATING) as play:
        await play.until_subscribed(1)
        await play.until_taken_one_more()
        await until_both_are_open(play, 2)
        assert genesys.state().subscriptions == {INTERACTION: [1, 2]}
        assert genesys.state().tokens_issued == 2
        assert genesys.state().closes == []
        play.post(Burst(name="to both", frames=10))
        await genesys.until(lambda: genesys.state().frames_sent == 21)
        play.time.advance(OVERLAP_S)
        await play.seen.until(lambda: play.told(SocketRotated))
        await genesys.until(lambda: bool(genesys.state().closes))
        (close,) = genesys.state().closes
        assert (close.socket, close.code, close.by) == (1, 1000, "client")
        await play.until_taken_one_more()
        check_books(play)
        await play.time.advance_until(lambda: suppressed(play) == 10, at_most_s=2)
        assert {one.what for one in play.intake.told} == {"subscribed", "suppressed"}
        assert play.told(SocketRotated) == [SocketRotated(socket=0, subscriptions=1)]
        (closed,) = play.told(SocketClosed)
        assert isinstance(closed, SocketClosed)
        assert (closed.cause, closed.open_sockets, closed.subscriptions) == ("rotated", 1, 1)
        assert play.metric("bridge_genesys_rotations_total") == 1
        assert play.metric("bridge_genesys_subscriptions", socket="0") == 1
        assert play.metric("bridge_genesys_duplicates_total") == 10
        assert sum(int(one.detail) for one in play.intake.told if one.what == "suppressed") == 10
        assert play.told(ReconnectScheduled) == []
        assert play.sockets.conditions()[0].is_ready


async def test_frame_after_frame_over_rotation_after_rotation_each_is_taken_once() -> None:
    # What is on its way while the clock leaps to the next rotation must not fall out of the window by that.
    options = ROTATING | {"dedup_window_s": LIFE_S}
    async with (
        GenesysSimulator(frames_per_s=400) as genesys,
        playing(genesys, INTERACTION, "interaction-2", "interaction-3", **options) as play,
    ):
        await play.until_subscribed(1)
        for rotations in range(1, 6):
            await until_both_are_open(play, rotations + 1)
            await until_sent(genesys, genesys.state().frames_sent + 40)
            play.time.advance(OVERLAP_S)
            await until_rotated(play, rotations)
        assert await genesys.stop_sending()
        sent = {frame.serial for frame in genesys.sent}
        await play.seen.until(lambda: len(play.intake.suggestions()) == len(sent))
        check_books(play)
        assert {told.what for told in play.intake.told} == {"subscribed", "suppressed"}
        assert genesys.state().tokens_issued == 6


async def test_several_sockets_rotate_each_for_itself() -> None:
    wanted = [INTERACTION, "interaction-2", "interaction-3", "interaction-4"]
    async with (
        GenesysSimulator(frames_per_s=0, max_connections=10) as genesys,
        playing(genesys, *wanted, **ROTATING, max_sockets=2, max_connections=10) as play,
    ):
        await genesys.until(lambda: len(genesys.state().subscriptions) == 4)
        play.time.advance(LIFE_S - BEFORE_S)
        await play.seen.until(lambda: play.time.waits_s.count(OVERLAP_S) >= 2)
        assert Counter(len(sockets) for sockets in genesys.state().subscriptions.values()) == {2: 4}
        play.post(Burst(name="to both", frames=40))
        await genesys.until(lambda: genesys.state().frames_sent == 80)
        play.time.advance(OVERLAP_S)
        await play.seen.until(lambda: len(play.told(SocketRotated)) == 2)
        assert {one.socket for one in play.events if isinstance(one, SocketRotated)} == {0, 1}
        await play.seen.until(lambda: len(play.intake.suggestions()) == 40)
        check_books(play)
        # Both had the same token: the first to rotate asked for another one, the second took it.
        assert genesys.state().tokens_issued == 2


async def test_without_room_for_one_more_socket_it_is_put_off_until_there_is() -> None:
    """T3: the quota is respected."""
    async with (
        GenesysSimulator(frames_per_s=0, max_connections=2) as genesys,
        playing(genesys, INTERACTION, **ROTATING, max_connections=2) as play,
    ):
        await play.until_subscribed(1)
        await play.fill_quota()
        play.time.advance(LIFE_S - BEFORE_S)
        await play.seen.until(lambda: play.told(RotationPutOff))
        assert play.told(RotationPutOff) == [
            RotationPutOff(socket=0, cause="quota", reason="2 of 2 connections are in use", token_left_s=60)
        ]
        assert play.metric("bridge_genesys_rotations_put_off_total", cause="quota") == 1
        assert play.sockets.conditions()[0].is_ready
        await play.free_quota()
        await play.time.until_someone_sleeps(5)
        play.time.advance(5)
        await play.until_subscribed(2)
        await play.time.until_someone_sleeps(OVERLAP_S)
        play.time.advance(OVERLAP_S)
        await play.seen.until(lambda: play.told(SocketRotated))


async def test_where_there_is_never_room_4001_comes_and_is_a_gap() -> None:
    async with (
        GenesysSimulator(frames_per_s=0, max_connections=1) as genesys,
        playing(genesys, INTERACTION, **ROTATING, max_connections=1) as play,
    ):
        await play.until_subscribed(1)
        play.time.advance(LIFE_S - BEFORE_S)
        for _ in range(11):
            await play.time.until_someone_sleeps(5)
            play.time.advance(5)
        await play.seen.until(lambda: len(play.told(RotationPutOff)) == 12)
        assert 5 not in play.time.waits_s
        play.post(ExpireTokens(name="expired"))
        scheduled = await play.wait_out()
        assert isinstance(scheduled, ReconnectScheduled)
        assert scheduled.cause == "token"
        await play.until_subscribed(2)
        assert play.intake.history(INTERACTION) == ["subscribed", "disconnected: token", "subscribed"]
        assert play.told(SocketRotated) == []


# -- against a server that breaks the rules ----------------------------------------------------------------------------


class Overlap:
    """The moment at which both sockets carry what is wanted."""

    def __init__(self, bridge: Running, time: MovingTime, former: Peer, following: Peer) -> None:
        self.bridge = bridge
        self.time = time
        self.former = former
        self.following = following


@asynccontextmanager
async def rotating(genesys: GenesysServer, *wanted: str, **changed: Any) -> AsyncIterator[tuple[Running, MovingTime]]:
    time = MovingTime(genesys.seen)
    async with running(genesys, *wanted, moving=time, **{**ROTATING, **changed}) as bridge:
        yield bridge, time


@asynccontextmanager
async def overlap(genesys: GenesysServer, *wanted: str, **changed: Any) -> AsyncIterator[Overlap]:
    async with rotating(genesys, *wanted, **changed) as (bridge, time):
        former = await genesys.peer(0, *wanted)
        await bridge.until(lambda: len(bridge.intake.told) == len(wanted))
        time.advance(LIFE_S - BEFORE_S)
        following = await genesys.peer(1, *wanted)
        await time.until_someone_sleeps(OVERLAP_S)
        yield Overlap(bridge, time, former, following)


async def test_equal_frames_are_taken_as_often_as_one_socket_has_them(genesys: GenesysServer) -> None:
    """The same frame on the same socket is a new one; on the other one it is a copy, once for each."""
    async with overlap(genesys, "i-1") as scene:
        for peer in (scene.former, scene.following):
            peer.suggest("i-1")
            peer.suggest("i-1")
        scene.following.suggest("i-1")
        scene.following.suggest("i-1", end=True)
        await scene.bridge.until(lambda: any(b"end" in one.value for one in scene.bridge.intake.suggestions()))
        assert [one.occurrence for one in scene.bridge.intake.suggestions()] == [0, 1, 2, 0]


async def test_a_copy_that_comes_after_the_window_is_taken(genesys: GenesysServer) -> None:
    async with overlap(genesys, "i-1", dedup_window_s=10.0) as scene:
        scene.former.suggest("i-1")
        await scene.bridge.until_taken(1)
        scene.time.advance(OVERLAP_S)
        await scene.bridge.until(lambda: scene.bridge.told(SocketRotated))
        scene.time.advance(9)
        scene.following.suggest("i-1")
        await scene.bridge.until_taken(2)
        assert [one.occurrence for one in scene.bridge.intake.suggestions()] == [0, 0]


async def test_what_a_lost_socket_has_delivered_is_not_taken_again_from_the_next_one(genesys: GenesysServer) -> None:
    async with rotating(genesys, "i-1") as (bridge, time):
        peer = await genesys.peer(0, "i-1")
        peer.suggest("i-1")
        await bridge.until_taken(1)
        peer.drop()
        await bridge.until(lambda: bridge.told(ReconnectScheduled))
        await time.advance_until(lambda: len(genesys.peers) == 2, at_most_s=60)
        peer = await genesys.peer(1, "i-1")
        peer.suggest("i-1")
        peer.suggest("i-1", number=2)
        await bridge.until_taken(2)
        await time.advance_until(lambda: "suppressed: 1" in bridge.intake.history("i-1"), at_most_s=2)
        assert bridge.intake.history("i-1") == ["subscribed", "disconnected: dropped", "subscribed", "suppressed: 1"]


async def test_where_the_next_socket_ends_the_former_one_goes_on_and_it_is_tried_again(genesys: GenesysServer) -> None:
    async with overlap(genesys, "i-1") as scene:
        scene.following.close(1011)
        await scene.bridge.until(lambda: scene.bridge.told(RotationPutOff))
        (put_off,) = scene.bridge.told(RotationPutOff)
        assert (put_off.cause, put_off.reason) == ("broken", "the next socket was closed with 1011")
        scene.former.suggest("i-1")
        await scene.bridge.until_taken(1)
        await scene.time.until_someone_sleeps(5)
        scene.time.advance(5)
        third = await genesys.peer(2, "i-1")
        await scene.time.until_someone_sleeps(OVERLAP_S)
        scene.time.advance(OVERLAP_S)
        await scene.bridge.until(lambda: scene.former.is_gone)
        assert genesys.open_peers == [third]
        assert scene.bridge.intake.history("i-1") == ["subscribed"] * 3
        assert scene.bridge.told(ReconnectScheduled) == []


async def test_a_fresh_token_that_is_refused_all_the_same_is_not_used_again(genesys: GenesysServer) -> None:
    async with overlap(genesys, "i-1") as scene:
        assert scene.following.authorization == "Bearer token-2"
        scene.following.close(4001)
        await scene.time.until_someone_sleeps(5)
        scene.time.advance(5)
        assert (await genesys.peer(2, "i-1")).authorization == "Bearer token-3"


async def test_a_next_socket_that_answers_no_ping_takes_over_all_the_same(genesys: GenesysServer) -> None:
    """A pong would only tell sooner that the subscriptions were read."""
    genesys.token_life_s = 0.2
    async with rotating(genesys, "i-1", idle_timeout_s=0.2) as (bridge, time):
        await genesys.peer(0, "i-1")
        await bridge.until(lambda: bridge.intake.told)
        time.advance(0.1)
        await genesys.seen.until(lambda: len(genesys.peers) == 2)
        genesys.peers[1].is_mute = True
        await genesys.peer(1, "i-1")
        await time.until_someone_sleeps(OVERLAP_S)
        assert bridge.told(SocketClosed) == []


async def test_if_nothing_is_wanted_any_more_in_the_midst_of_it_both_are_closed(genesys: GenesysServer) -> None:
    async with overlap(genesys, "i-1") as scene:
        scene.bridge.sockets.unsubscribe(["i-1"])
        await scene.bridge.until(lambda: not genesys.open_peers)
        assert [peer.close_code for peer in genesys.peers] == [1000, 1000]
        await scene.bridge.until(lambda: len(scene.bridge.told(SocketClosed)) == 2)
        assert {event.cause for event in scene.bridge.told(SocketClosed)} == {"unwanted"}
        assert scene.bridge.told(RotationPutOff) == []
        scene.bridge.want("i-2")
        await genesys.peer(2, "i-2")


@pytest.mark.parametrize("code", [1000, 4001])
async def test_where_the_former_socket_ends_first_the_next_one_goes_on_without_a_gap(
    genesys: GenesysServer, code: int
) -> None:
    async with overlap(genesys, "i-1", on_normal_closure="finish") as scene:
        scene.former.close(code)
        await scene.bridge.until(lambda: scene.bridge.told(SocketClosed))
        scene.following.suggest("i-1")
        await scene.bridge.until_taken(1)
        assert scene.bridge.intake.history("i-1") == ["subscribed", "subscribed"]
        assert [event.code for event in scene.bridge.told(SocketClosed)] == [code]
        assert scene.bridge.told(ReconnectScheduled) == []
        assert len(genesys.peers) == 2


async def test_where_the_former_socket_is_lost_what_was_on_its_way_is_a_gap(genesys: GenesysServer) -> None:
    """No close frame tells that everything was read."""
    async with overlap(genesys, "i-1") as scene:
        scene.former.drop()
        await scene.bridge.until(lambda: len(scene.following.received) == 2)
        gap = ["disconnected: dropped", "subscribed"]
        await scene.bridge.until(lambda: scene.bridge.intake.history("i-1") == ["subscribed", "subscribed", *gap])
        assert [event.code for event in scene.bridge.told(SocketClosed)] == [1006]
        assert scene.bridge.told(ReconnectScheduled) == []
        assert len(genesys.peers) == 2


async def test_the_gap_of_a_former_socket_begins_with_what_was_read_there_last(genesys: GenesysServer) -> None:
    """What was on its way there may be older than what the next one has brought."""
    async with overlap(genesys, "i-1") as scene:
        scene.former.suggest("i-1", number=1)
        await scene.bridge.until_taken(1)
        read_to_ms = scene.time.clock()
        scene.time.advance(1)
        scene.following.suggest("i-1", number=2)
        await scene.bridge.until_taken(2)
        scene.former.drop()
        await scene.bridge.until(lambda: scene.bridge.told(SocketClosed))
        assert scene.bridge.intake.read_to_ms == [read_to_ms]


async def test_a_close_of_the_former_socket_that_is_never_answered_is_a_gap(genesys: GenesysServer) -> None:
    async with overlap(genesys, "i-1") as scene:
        scene.former.is_mute = True
        scene.time.advance(OVERLAP_S)
        await scene.bridge.until(lambda: scene.former.close_code == 1000)
        scene.former.drop()
        gap = ["disconnected: dropped", "subscribed"]
        await scene.bridge.until(lambda: scene.bridge.intake.history("i-1") == ["subscribed", "subscribed", *gap])
        await scene.bridge.until(lambda: scene.bridge.told(SocketRotated))
        assert [event.cause for event in scene.bridge.told(SocketClosed)] == ["rotated"]


async def test_where_the_former_socket_ends_before_the_next_one_is_heard_what_came_between_is_a_gap(
    genesys: GenesysServer,
) -> None:
    """Subscriptions that were sent, but not acted on, bring nothing yet."""
    async with rotating(genesys, "i-1") as (bridge, time):
        former = await genesys.peer(0, "i-1")
        await bridge.until(lambda: bridge.intake.told)
        time.advance(LIFE_S - BEFORE_S)
        await genesys.seen.until(lambda: len(genesys.peers) == 2)
        genesys.peers[1].is_mute = True
        following = await genesys.peer(1, "i-1")
        await bridge.until(lambda: bridge.intake.history("i-1") == ["subscribed", "subscribed"])
        former.close(4001)
        gap = ["disconnected: token", "subscribed"]
        await bridge.until(lambda: bridge.intake.history("i-1") == ["subscribed", "subscribed", *gap])
        assert bridge.told(ReconnectScheduled) == []
        following.is_mute = False


async def test_what_the_next_socket_does_not_carry_yet_is_a_gap_if_the_former_one_is_lost(
    genesys: GenesysServer,
) -> None:
    names = [f"i-{number}" for number in range(200)]
    async with rotating(genesys, *names) as (bridge, time):
        former = await genesys.peer(0, "i-199")
        await bridge.until(lambda: len(bridge.intake.told) == 200)
        time.advance(LIFE_S - BEFORE_S)
        await genesys.seen.until(lambda: len(genesys.peers) == 2)
        former.drop()
        await bridge.until(lambda: bridge.told(SocketClosed))
        # How many the next one carried by then is chance; what counts is that none is left without the end of its gap.
        await bridge.until(lambda: all(bridge.intake.history(name)[-1] == "subscribed" for name in names))
        assert all("disconnected: dropped" in bridge.intake.history(name) for name in names)


async def test_stop_in_the_midst_of_it_closes_both(genesys: GenesysServer) -> None:
    """D4."""
    async with overlap(genesys, "i-1") as scene:
        await scene.bridge.sockets.stop()
        await scene.bridge.task
        await scene.bridge.until(lambda: not genesys.open_peers)
        assert [scene.former.close_code, scene.following.close_code] == [1000, 1000]
        assert scene.bridge.intake.history("i-1") == ["subscribed", "subscribed", "disconnected: stopped"]
        assert scene.bridge.told(SocketRotated) == []


async def test_the_former_socket_is_not_closed_while_nothing_is_read(genesys: GenesysServer) -> None:
    """T6: what is on its way there would be lost."""
    async with overlap(genesys, "i-1") as scene:
        scene.bridge.intake.pause()
        for number in range(100):
            scene.former.suggest("i-1", number=number, filler="x" * 16_384)
        await scene.bridge.until(lambda: scene.bridge.intake.waiting == 1)
        scene.time.advance(OVERLAP_S)
        await scene.bridge.until(lambda: scene.bridge.intake.waiting == 2)
        assert scene.former.close_code is None
        scene.bridge.intake.resume()
        await scene.time.until_someone_sleeps(OVERLAP_S)
        scene.time.advance(OVERLAP_S)
        await scene.bridge.until(lambda: scene.bridge.told(SocketRotated))
        assert len(scene.bridge.intake.taken) == 100
        assert scene.former.close_code == 1000


async def test_the_next_socket_is_not_opened_while_nothing_is_read(genesys: GenesysServer) -> None:
    """Its frames would be written before older ones that wait on the former one."""
    async with rotating(genesys, "i-1") as (bridge, time):
        former = await genesys.peer(0, "i-1")
        await bridge.until(lambda: bridge.intake.told)
        bridge.intake.pause()
        for number in range(100):
            former.suggest("i-1", number=number, filler="x" * 16_384)
        await bridge.until(lambda: bridge.intake.waiting == 1)
        time.advance(LIFE_S - BEFORE_S)
        await bridge.until(lambda: bridge.intake.waiting == 2)
        assert genesys.peers == [former]
        bridge.intake.resume()
        following = await genesys.peer(1, "i-1")
        following.suggest("i-1", number=100)
        await bridge.until_taken(101)
        assert [json.loads(one.value)["number"] for one in bridge.intake.suggestions()] == list(range(101))


async def test_changes_go_to_both_sockets_while_there_are_two(genesys: GenesysServer) -> None:
    async with overlap(genesys, "i-1", "i-2") as scene:
        scene.bridge.want("i-3")
        scene.bridge.sockets.unsubscribe(["i-2"])
        for peer in (scene.former, scene.following):
            await scene.bridge.until(lambda peer=peer: peer.subscribed == {"i-1", "i-3"})  # type: ignore[misc]


async def test_what_is_refused_on_one_of_the_two_is_unsubscribed_on_the_other(genesys: GenesysServer) -> None:
    async with overlap(genesys, "i-1", "i-2") as scene:
        scene.following.say(type="error", interactionId="i-2", code="no")
        await scene.bridge.until(lambda: scene.former.subscribed == {"i-1"})
        assert scene.bridge.intake.history("i-2") == ["subscribed", "subscribed", "finished: refused: no"]


@pytest.mark.parametrize(
    ("path", "answer", "cause"),
    [
        ("/oauth/token", Scripted(status=503), "unavailable"),
        ("/oauth/token", Scripted(status=401), "client-refused"),
        ("/config", Scripted(status=429), "busy"),
        ("/websocket", Scripted(status=403), "forbidden"),
    ],
)
async def test_what_cannot_be_opened_is_tried_again_and_the_socket_goes_on(
    genesys: GenesysServer, path: str, answer: Scripted, cause: str
) -> None:
    async with rotating(genesys, "i-1") as (bridge, time):
        former = await genesys.peer(0, "i-1")
        await bridge.until(lambda: bridge.intake.told)
        genesys.script(path, answer)
        time.advance(LIFE_S - BEFORE_S)
        await bridge.until(lambda: bridge.told(RotationPutOff))
        assert [event.cause for event in bridge.told(RotationPutOff)] == [cause]
        assert bridge.sockets.conditions()[0].is_ready
        assert not former.is_gone
        await time.until_someone_sleeps(5)
        time.advance(5)
        await genesys.peer(1, "i-1")
        await time.until_someone_sleeps(OVERLAP_S)
        time.advance(OVERLAP_S)
        await bridge.until(lambda: bridge.told(SocketRotated))


async def test_the_same_token_again_is_not_worth_another_socket(genesys: GenesysServer) -> None:
    async with rotating(genesys, "i-1") as (bridge, time):
        peer = await genesys.peer(0, "i-1")
        await bridge.until(lambda: bridge.intake.told)
        body = b'{"access_token":"token-1","expires_in":60}'
        genesys.script("/oauth/token", Scripted(status=200, body=body))
        time.advance(LIFE_S - BEFORE_S)
        await bridge.until(lambda: bridge.told(RotationPutOff))
        assert [event.cause for event in bridge.told(RotationPutOff)] == ["token"]
        assert genesys.open_peers == [peer]


async def test_a_socket_that_is_opened_late_in_a_tokens_life_gets_another_one(genesys: GenesysServer) -> None:
    """Else it would be replaced at once."""
    async with rotating(genesys, "i-1", rotate_before_s=600.0) as (bridge, time):
        (await genesys.peer(0, "i-1")).drop()
        await bridge.until(lambda: bridge.told(ReconnectScheduled))
        time.skip(LIFE_S - 300)
        await time.advance_until(lambda: len(genesys.peers) == 2, at_most_s=60)
        assert (await genesys.peer(1, "i-1")).authorization == "Bearer token-2"
        assert genesys.count("/oauth/token") == 2


async def test_the_old_token_is_good_enough_where_no_other_is_to_be_had(genesys: GenesysServer) -> None:
    async with rotating(genesys, "i-1", rotate_before_s=600.0) as (bridge, time):
        (await genesys.peer(0, "i-1")).drop()
        await bridge.until(lambda: bridge.told(ReconnectScheduled))
        genesys.script("/oauth/token", Scripted(status=503))
        time.skip(LIFE_S - 300)
        await time.advance_until(lambda: len(genesys.peers) == 2, at_most_s=60)
        assert (await genesys.peer(1, "i-1")).authorization == "Bearer token-1"
        assert (await genesys.peer(2, "i-1")).authorization == "Bearer token-2"


async def test_a_short_life_is_used_by_half(genesys: GenesysServer) -> None:
    genesys.token_life_s = 40
    async with rotating(genesys, "i-1") as (_, time):
        await genesys.peer(0, "i-1")
        await time.until_someone_sleeps(20)


async def test_0_is_never(genesys: GenesysServer) -> None:
    async with rotating(genesys, "i-1", rotate_before_s=0.0) as (bridge, time):
        await genesys.peer(0, "i-1")
        await bridge.until(lambda: bridge.intake.told)
        assert max(time.waits_s) <= 1
        assert len(bridge.told(SocketOpened)) == 1


async def test_a_good_socket_that_was_replaced_ends_the_failures(genesys: GenesysServer) -> None:
    """T7: reset after success, even if the next one has not proved good yet."""
    genesys.script("/websocket", Scripted(status=500))
    async with rotating(genesys, "i-1") as (bridge, time):
        await time.advance_until(lambda: genesys.peers, at_most_s=60)
        former = await genesys.peer(0, "i-1")
        former.suggest("i-1")
        await bridge.until_taken(1)
        time.advance(LIFE_S - BEFORE_S)
        following = await genesys.peer(1, "i-1")
        await time.until_someone_sleeps(OVERLAP_S)
        time.advance(OVERLAP_S)
        await bridge.until(lambda: bridge.told(SocketRotated))
        following.close(1011)
        await bridge.until(lambda: len(bridge.told(ReconnectScheduled)) == 2)
        assert [event.failures for event in bridge.told(ReconnectScheduled)] == [1, 1]

"""Real sockets, against a server that breaks the rules."""

import gzip
import json
import zlib
from collections.abc import Iterator

import pytest
from websockets.frames import Opcode

from bridge.adapters.genesys import liveness, sockets, traffic
from bridge.core.dialects.agentassist import Notice, Suggestions
from bridge.core.errors import StartError
from bridge.core.events.genesys import (
    FramesRead,
    FramesUnreadable,
    GenesysErrorTold,
    NoticesRead,
    QuotaFree,
    QuotaFull,
    ReconnectScheduled,
    ResumeScheduled,
    SocketClosed,
    SocketOpened,
    SocketProvedGood,
    SubscriptionRefused,
    TokenRenewed,
)
from bridge.core.times import from_rfc3339
from bridge.core.values import ContextWindow, Subscription
from tests.adapters.genesys.running import running
from tests.adapters.genesys.server import GenesysServer, Scripted, Seen


class Monotonic:
    """A clock that is moved by hand; `calls` shows that somebody looked at it."""

    def __init__(self, seen: Seen) -> None:
        self.now_s = 0.0
        self.calls = 0
        self._seen = seen

    def __call__(self) -> float:
        self.calls += 1
        self._seen.tell()
        return self.now_s

    async def until_looked_at(self, times: int) -> None:
        enough = self.calls + times
        await self._seen.until(lambda: self.calls >= enough)


# -- opening -----------------------------------------------------------------------------------------------------------


async def test_opens_in_the_order_token_library_quota_socket_and_subscribes(genesys: GenesysServer) -> None:
    """T1, T2, T3, T4: the tutorial's order, its Bearer token and its subscription."""
    async with running(genesys, "interaction-1"):
        peer = await genesys.peer(0, "interaction-1")
        assert [path.removeprefix("/api/v2/") for path, _ in genesys.requests] == [
            "oauth/token",
            "agentassist/contentlibraries",
            "agentassist/config",
            "agentassist/websocket",
        ]
        assert peer.authorization == "Bearer token-1"
        (frame,) = peer.received
        assert frame.keys() == {"type", "interactionId", "contextWindow", "suggestionTypes", "requestId"}
        assert frame["suggestionTypes"] == ["knowledge", "process"]
        window = frame["contextWindow"]
        assert from_rfc3339(window["end"]) - from_rfc3339(window["start"]) == 300_000


async def test_opens_no_socket_while_nothing_is_wanted_and_is_ready(genesys: GenesysServer) -> None:
    async with running(genesys) as bridge:
        assert bridge.sockets.conditions()[0].is_ready
        bridge.want("interaction-1")
        assert not bridge.sockets.conditions()[0].is_ready
        await genesys.peer(0, "interaction-1")
        assert bridge.sockets.conditions()[0].is_ready
        assert genesys.count("/websocket") == 1


async def test_checks_the_library_once_and_the_quota_before_each_socket(genesys: GenesysServer) -> None:
    """T2, T3."""
    async with running(genesys, "interaction-1"):
        for number in range(3):
            (await genesys.peer(number, "interaction-1")).drop()
        await genesys.peer(3, "interaction-1")
        assert genesys.count("/contentlibraries") == 1
        assert genesys.count("/config") == 4


async def test_waits_while_the_quota_is_full_and_says_so(genesys: GenesysServer) -> None:
    """T3: when full, wait and look again, told in readiness."""
    genesys.active_connections = 5
    async with running(genesys, "interaction-1") as bridge:
        await bridge.until(lambda: len(bridge.told(QuotaFull)) >= 2)
        (condition,) = bridge.sockets.conditions()
        assert not condition.is_ready
        assert condition.reason == (
            "the quota is full: 5 of 5 connections are in use; "
            "end one of them, or raise genesys.max_connections if the tenant has more"
        )
        assert genesys.peers == []
        genesys.active_connections = 4
        await genesys.peer(0, "interaction-1")
        assert len(bridge.told(QuotaFree)) == 1
        assert bridge.told(ReconnectScheduled) == []
        assert bridge.sockets.conditions()[0].is_ready


async def test_a_full_quota_is_no_trouble_once_nothing_is_wanted(genesys: GenesysServer) -> None:
    """The last conversation has ended: an alert on the quota must end, too."""
    genesys.active_connections = 5
    async with running(genesys, "interaction-1") as bridge:
        await bridge.until(lambda: bridge.told(QuotaFull))
        bridge.sockets.unsubscribe(["interaction-1"])
        await bridge.until(lambda: bridge.told(QuotaFree))
        assert bridge.sockets.conditions()[0].is_ready


async def test_several_sockets_share_the_interactions_evenly_and_dont_overrun_the_quota(genesys: GenesysServer) -> None:
    """T3: sockets of one process are opened one at a time, so that each counts for the next."""
    wanted = [f"interaction-{number}" for number in range(9)]
    async with running(genesys, *wanted, max_sockets=3, max_connections=2) as bridge:
        await bridge.until(lambda: bridge.told(QuotaFull))
        await bridge.until(lambda: [len(peer.subscribed) for peer in genesys.peers] == [3, 3])
        assert not bridge.sockets.conditions()[0].is_ready
        carried = set.union(*(peer.subscribed for peer in genesys.peers))
        assert len(carried) == 6


async def test_new_interactions_go_where_the_fewest_are_and_each_is_on_one_socket(genesys: GenesysServer) -> None:
    wanted = [f"interaction-{number}" for number in range(9)]
    async with running(genesys, *wanted, max_sockets=3) as bridge:
        await bridge.until(lambda: [len(peer.subscribed) for peer in genesys.peers] == [3, 3, 3])
        bridge.sockets.unsubscribe(sorted(genesys.peers[1].subscribed)[:2])
        bridge.want("interaction-10", "interaction-11", wanted[0])
        await bridge.until(lambda: {"interaction-10", "interaction-11"} <= genesys.peers[1].subscribed)
        await bridge.until(lambda: [len(peer.subscribed) for peer in genesys.peers] == [3, 3, 3])
        assert len(set.union(*(peer.subscribed for peer in genesys.peers))) == 9


# -- subscribing -------------------------------------------------------------------------------------------------------


async def test_carries_many_interactions_on_one_socket_and_subscribes_them_again_after_a_reconnect(
    genesys: GenesysServer,
) -> None:
    """T4: subscribed again after each reconnect."""
    wanted = [f"interaction-{number}" for number in range(150)]
    async with running(genesys, *wanted) as bridge:
        first = await genesys.peer(0, *wanted)
        await bridge.until(lambda: len(bridge.intake.told) == 150)
        first.drop()
        second = await genesys.peer(1, *wanted)
        await bridge.until(lambda: len(bridge.intake.told) == 450)
        assert bridge.intake.history("interaction-7") == ["subscribed", "disconnected: dropped", "subscribed"]
        assert bridge.intake.told[-1].detail in {frame["requestId"] for frame in second.received}


async def test_takes_what_a_subscription_says_itself(genesys: GenesysServer) -> None:
    window = ContextWindow(start="2026-01-05T10:00:00.000Z", end="2026-01-05T10:05:00.000Z")
    async with running(genesys) as bridge:
        bridge.sockets.subscribe(
            [Subscription(interaction_id="interaction-1", context_window=window, suggestion_types=("process",))]
        )
        (frame,) = (await genesys.peer(0, "interaction-1")).received
        assert frame["contextWindow"] == {"start": window.start, "end": window.end}
        assert frame["suggestionTypes"] == ["process"]


async def test_changes_go_over_the_open_socket(genesys: GenesysServer) -> None:
    async with running(genesys, "first") as bridge:
        peer = await genesys.peer(0, "first")
        for number in range(200):
            bridge.want(f"interaction-{number}")
            bridge.sockets.unsubscribe([f"interaction-{number - 1}"])
        bridge.sockets.unsubscribe(["first", "never wanted"])
        await genesys.seen.until(lambda: peer.subscribed == {"interaction-199"})
        assert len(genesys.peers) == 1
        assert not any(frame["interactionId"] == "never wanted" for frame in peer.received)


async def test_a_subscription_that_is_wanted_again_is_sent_again(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        bridge.want("interaction-1")
        await bridge.until(lambda: len(peer.received) == 2)
        await bridge.until(lambda: bridge.intake.history("interaction-1") == ["subscribed", "subscribed"])


async def test_the_socket_is_closed_when_nothing_is_wanted_any_more_and_opened_when_something_is(
    genesys: GenesysServer,
) -> None:
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        bridge.sockets.unsubscribe(["interaction-1"])
        await bridge.until(lambda: peer.is_gone)
        assert peer.received[-1]["type"] == "unsubscribe"
        assert peer.close_code == 1000
        await bridge.until(lambda: [one.cause for one in bridge.told(SocketClosed)] == ["unwanted"])
        assert bridge.sockets.conditions()[0].is_ready
        assert bridge.intake.history("interaction-1") == ["subscribed"]
        bridge.want("interaction-2")
        second = await genesys.peer(1, "interaction-2")
        assert second.subscribed == {"interaction-2"}


async def test_a_refused_subscription_is_finished_and_not_retried_until_it_is_wanted_again(
    genesys: GenesysServer,
) -> None:
    async with running(genesys, "good", "bad") as bridge:
        peer = await genesys.peer(0, "good", "bad")
        peer.say(type="error", requestId=peer.request_id("bad"), code="unknown_interaction", message="secret text")
        await bridge.until(lambda: bridge.intake.history("bad")[-1] == "finished: refused: unknown_interaction")
        assert [event.code for event in bridge.told(SubscriptionRefused)] == ["unknown_interaction"]
        peer.drop()
        second = await genesys.peer(1, "good")
        assert second.subscribed == {"good"}
        assert bridge.intake.history("bad")[1:] == ["finished: refused: unknown_interaction"]
        bridge.want("bad")
        await genesys.peer(1, "good", "bad")
        assert "secret text" not in repr(bridge.events)


async def test_the_socket_is_closed_when_the_last_subscription_is_refused(genesys: GenesysServer) -> None:
    async with running(genesys, "bad") as bridge:
        peer = await genesys.peer(0, "bad")
        peer.say(type="error", interactionId="bad", code="no")
        await bridge.until(lambda: peer.is_gone)
        assert peer.close_code == 1000
        assert bridge.intake.history("bad") == ["subscribed", "finished: refused: no"]


async def test_an_error_about_no_subscription_is_told_and_nothing_ends(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.say(type="error", code="maintenance")
        peer.say(type="error", code="stale", interactionId="interaction-9")
        peer.suggest("interaction-1")
        await bridge.until(bridge.intake.suggestions)
        assert [event.code for event in bridge.told(GenesysErrorTold)] == ["maintenance"]
        assert bridge.told(SubscriptionRefused) == []
        assert bridge.intake.history("interaction-1") == ["subscribed"]


# -- reading -----------------------------------------------------------------------------------------------------------


async def test_takes_text_gzip_and_json_in_binary_frames(genesys: GenesysServer) -> None:
    """T5."""
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        frames = [b'{"interactionId":"interaction-1","suggestions":[%d]}' % number for number in range(3)]
        peer.send(frames[0])
        peer.send(gzip.compress(frames[1]), opcode=Opcode.BINARY)
        peer.send(frames[2], opcode=Opcode.BINARY)
        await bridge.until(lambda: len(bridge.intake.taken) == 3)
        assert [one.value for one in bridge.intake.suggestions()] == frames


async def test_text_that_is_not_utf_8_is_unreadable_and_the_connection_goes_on(genesys: GenesysServer) -> None:
    """T5, D7: a dead letter, not the end of the connection."""
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.send(b'{"interactionId":"\xff\xfe","suggestions":[]}')
        peer.send(b"\x00\x01\x02", opcode=Opcode.BINARY)
        peer.suggest("interaction-1")
        await bridge.until(bridge.intake.suggestions)
        assert [one.dlq_class for one in bridge.intake.unreadable()] == ["decode", "decode"]
        assert not peer.is_gone
        await bridge.until(lambda: sum(event.frames for event in bridge.told(FramesUnreadable)) == 2)


async def test_equal_frames_on_one_socket_are_told_apart_and_on_another_socket_are_the_same(
    genesys: GenesysServer,
) -> None:
    async with running(genesys, "interaction-1", dedup_window_s=0) as bridge:
        for number in range(2):
            peer = await genesys.peer(number, "interaction-1")
            peer.suggest("interaction-1")
            peer.suggest("interaction-1")
            await bridge.until_taken(2 * (number + 1))
            peer.drop()
        assert [one.occurrence for one in bridge.intake.suggestions()] == [0, 1, 0, 1]


async def test_notices_are_counted_under_known_types_only(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.say(type="heartbeat")
        peer.say(type="heartbeat")
        peer.say(type="something personal")
        await bridge.until(lambda: sum(event.frames for event in bridge.told(NoticesRead)) == 3)
        assert {event.type for event in bridge.told(NoticesRead)} == {"heartbeat", "other"}
        assert bridge.intake.taken[0] == Notice(type="heartbeat")
        assert sum(event.frames for event in bridge.told(FramesRead)) == 3


async def test_while_the_intake_may_not_be_read_tcp_pushes_back_and_nothing_is_lost(genesys: GenesysServer) -> None:
    """T6, D2: not reading is felt by the server; afterwards every frame arrives."""
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        bridge.intake.pause()
        for number in range(400):
            # Random enough that permessage-deflate does not make it small.
            peer.suggest("interaction-1", number=number, filler=_incompressible(64 * 1024, seed=number))
        await bridge.until(lambda: bridge.intake.waiting == 1)
        assert peer.unsent_bytes > 1024 * 1024
        assert len(bridge.intake.taken) <= 1
        bridge.intake.resume()
        await bridge.until(lambda: len(bridge.intake.taken) == 400, within_s=30)
        assert [json.loads(one.value)["number"] for one in bridge.intake.suggestions()] == list(range(400))


def _incompressible(size: int, *, seed: int) -> str:
    state, words = seed + 1, []
    for _ in range(size // 16):
        state = state * 6364136223846793005 + 1442695040888963407 & 0xFFFFFFFFFFFFFFFF
        words.append(f"{state:016x}")
    return "".join(words)


async def test_a_permessage_deflate_bomb_ends_the_connection_with_1009(genesys: GenesysServer) -> None:
    """D7: refused at the bound of 8 MiB; the gap's cause is `oversize`, and the socket comes back."""
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        assert "permessage-deflate" in peer.extensions
        peer.send(bytes(256 * 1024 * 1024))
        await bridge.until(lambda: peer.is_gone, within_s=30)
        assert peer.close_code == 1009
        await genesys.peer(1, "interaction-1")
        await bridge.until(
            lambda: bridge.intake.history("interaction-1") == ["subscribed", "disconnected: oversize", "subscribed"]
        )
        assert bridge.intake.taken == []


async def test_a_gzip_bomb_is_unreadable_and_the_connection_goes_on(genesys: GenesysServer) -> None:
    """D7: 1 MB that inflates to 1 GB."""
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        bomb = b"".join(_gzip_of_zeros(size=1024 * 1024 * 1024))
        peer.send(bomb, opcode=Opcode.BINARY)
        peer.suggest("interaction-1")
        await bridge.until(bridge.intake.suggestions, within_s=30)
        (dead,) = bridge.intake.unreadable()
        assert (dead.dlq_class, dead.size) == ("inflate", len(bomb))
        assert dead.value == bomb[: 512 * 1024]


def _gzip_of_zeros(*, size: int) -> Iterator[bytes]:
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(size // (1024 * 1024)):
        yield deflater.compress(bytes(1024 * 1024))
    yield deflater.flush()


async def test_the_bound_of_a_frame_is_an_option(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1", max_frame_bytes=100) as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.suggest("interaction-1", filler="x" * 100)
        await bridge.until(bridge.intake.unreadable)
        (dead,) = bridge.intake.unreadable()
        assert (dead.dlq_class, len(dead.value)) == ("oversize", 100)


# -- coming back -------------------------------------------------------------------------------------------------------


async def test_delays_double_from_twice_the_first_up_to_the_cap_plus_jitter(genesys: GenesysServer) -> None:
    """T7: min(1 s · 2^n, 30 s) + up to 1 s of jitter, here in units of 5 ms."""
    genesys.script("/websocket", *[Scripted(status=500)] * 6)
    async with running(genesys, "interaction-1") as bridge:
        await genesys.peer(0, "interaction-1")
        delays = [event.delay_s for event in bridge.told(ReconnectScheduled)]
        assert delays == pytest.approx([0.0105, 0.0205, 0.0405, 0.0505, 0.0505, 0.0505])
        assert [event.failures for event in bridge.told(ReconnectScheduled)] == [1, 2, 3, 4, 5, 6]
        assert {event.cause for event in bridge.told(ReconnectScheduled)} == {"unavailable"}


async def test_failures_start_over_once_a_socket_has_proved_good(genesys: GenesysServer) -> None:
    """T7: reset after success."""
    genesys.script("/websocket", *[Scripted(status=500)] * 3)
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.suggest("interaction-1")
        await bridge.until(bridge.intake.suggestions)
        peer.drop()
        await genesys.peer(1, "interaction-1")
        assert [event.failures for event in bridge.told(ReconnectScheduled)] == [1, 2, 3, 1]
        assert len(bridge.told(SocketProvedGood)) == 1


async def test_a_socket_that_only_opens_does_not_end_the_failures(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1") as bridge:
        for number in range(3):
            (await genesys.peer(number, "interaction-1")).close(1011)
        await genesys.peer(3, "interaction-1")
        assert [event.failures for event in bridge.told(ReconnectScheduled)] == [1, 2, 3]
        assert {event.cause for event in bridge.told(ReconnectScheduled)} == {"broken"}


async def test_a_socket_that_lasts_is_good_without_suggestions(genesys: GenesysServer) -> None:
    monotonic = Monotonic(genesys.seen)
    async with running(genesys, "interaction-1", monotonic=monotonic) as bridge:
        (await genesys.peer(0, "interaction-1")).drop()
        peer = await genesys.peer(1, "interaction-1")
        monotonic.now_s += traffic.GOOD_AFTER_S
        peer.drop()
        await genesys.peer(2, "interaction-1")
        assert [event.failures for event in bridge.told(ReconnectScheduled)] == [1, 1]


async def test_does_not_give_up_after_ten_failures_but_says_so(genesys: GenesysServer) -> None:
    """T7, D3: unlimited tries by default; readiness tells after ten in a row."""
    async with running(genesys, "interaction-1") as bridge:
        (await genesys.peer(0, "interaction-1")).drop()
        genesys.script("/config", *[Scripted(status=503)] * 12)
        await bridge.until(lambda: len(bridge.told(ReconnectScheduled)) == 9)
        assert bridge.sockets.conditions()[0].is_ready
        await bridge.until(lambda: len(bridge.told(ReconnectScheduled)) == 11)
        (condition,) = bridge.sockets.conditions()
        assert not condition.is_ready
        assert "503 (11 failures in a row)" in condition.reason
        await genesys.peer(1, "interaction-1")
        assert bridge.sockets.conditions()[0].is_ready
        assert not bridge.task.done()


async def test_gives_up_after_max_tries(genesys: GenesysServer) -> None:
    """T7: the tutorial's way, as an option."""
    genesys.script("/websocket", *[Scripted(status=500)] * 20)
    async with running(genesys, "interaction-1", max_tries=3) as bridge:
        with pytest.raises(StartError, match=r"gave up after 4 failures in a row.*500"):
            await bridge.task
        assert genesys.count("/websocket") == 4


@pytest.mark.parametrize("code", [1000, 1001])
async def test_after_a_normal_closure_it_comes_back_within_a_second_without_a_failure(
    genesys: GenesysServer, code: int
) -> None:
    """T8, D3."""
    async with running(genesys, "interaction-1") as bridge:
        for number in range(2):
            (await genesys.peer(number, "interaction-1")).close(code)
        await genesys.peer(2, "interaction-1")
        assert bridge.told(ReconnectScheduled) == []
        assert [event.delay_s < 1 for event in bridge.told(ResumeScheduled)] == [True, True]
        assert [(event.code, event.level) for event in bridge.told(SocketClosed)] == [(code, "info")] * 2
        assert bridge.intake.history("interaction-1")[:2] == ["subscribed", "disconnected: closed"]
        assert genesys.tokens_given == 1


async def test_normal_closures_of_sockets_that_carried_nothing_become_failures(genesys: GenesysServer) -> None:
    """Two replicas that throw each other out, say: two thousand subscriptions, several times a second, without end."""
    async with running(genesys, "interaction-1") as bridge:
        for number in range(14):
            (await genesys.peer(number, "interaction-1")).close(1001)
        await bridge.until(lambda: len(bridge.told(ReconnectScheduled)) == 11)
        assert len(bridge.told(ResumeScheduled)) == 3
        assert {event.cause for event in bridge.told(ReconnectScheduled)} == {"broken"}
        assert [event.failures for event in bridge.told(ReconnectScheduled)] == list(range(1, 12))
        assert not bridge.sockets.conditions()[0].is_ready


async def test_normal_closures_within_seconds_are_backed_off_even_if_the_sockets_brought_suggestions(
    genesys: GenesysServer,
) -> None:
    """Two replicas that throw each other out get suggestions in between, and each closure is a gap."""
    async with running(genesys, "interaction-1") as bridge:
        for number in range(6):
            peer = await genesys.peer(number, "interaction-1")
            peer.suggest("interaction-1", number=number)
            await bridge.until_taken(number + 1)
            peer.close(1001)
        await bridge.until(lambda: len(bridge.told(ReconnectScheduled)) == 3)
        assert len(bridge.told(ResumeScheduled)) == 3
        assert [(event.cause, event.failures) for event in bridge.told(ReconnectScheduled)] == [("broken", 1)] * 3


async def test_a_normal_closure_of_a_socket_that_has_lasted_begins_the_count_anew(genesys: GenesysServer) -> None:
    monotonic = Monotonic(genesys.seen)
    async with running(genesys, "interaction-1", monotonic=monotonic) as bridge:
        for number in range(8):
            peer = await genesys.peer(number, "interaction-1")
            if number == 3:
                monotonic.now_s += traffic.GOOD_AFTER_S
            peer.close(1001)
        await bridge.until(lambda: bridge.told(ReconnectScheduled))
        assert len(bridge.told(ResumeScheduled)) == 7


async def test_a_normal_closure_finishes_the_subscriptions_of_the_socket_where_the_option_says_so(
    genesys: GenesysServer,
) -> None:
    """T8: `finish` is the tutorial's way; the process stays up."""
    async with running(genesys, "interaction-1", on_normal_closure="finish") as bridge:
        (await genesys.peer(0, "interaction-1")).close(1001)
        await bridge.until(lambda: bridge.intake.history("interaction-1") == ["subscribed", "finished: closed"])
        bridge.want("interaction-2")
        second = await genesys.peer(1, "interaction-2")
        assert second.subscribed == {"interaction-2"}
        second.close(1011)
        await genesys.peer(2, "interaction-2")
        assert bridge.intake.history("interaction-2")[:2] == ["subscribed", "disconnected: broken"]


async def test_4001_renews_the_token_at_once_and_again_with_backoff(genesys: GenesysServer) -> None:
    """T8."""
    async with running(
        genesys, "interaction-1", reconnect_first_s=0.4, reconnect_cap_s=1.0, reconnect_jitter_s=0
    ) as bridge:
        (await genesys.peer(0, "interaction-1")).close(4001)
        second = await genesys.peer(1, "interaction-1")
        assert second.authorization == "Bearer token-2"
        second.close(4001)
        third = await genesys.peer(2, "interaction-1")
        assert third.authorization == "Bearer token-3"
        assert [event.cause for event in bridge.told(ReconnectScheduled)] == ["token", "token"]
        assert [event.delay_s for event in bridge.told(ReconnectScheduled)] == pytest.approx([0.14, 1.0])


async def test_after_a_good_socket_4001_is_at_once_again(genesys: GenesysServer) -> None:
    """T8."""
    async with running(genesys, "interaction-1", reconnect_first_s=1) as bridge:
        for number in range(3):
            peer = await genesys.peer(number, "interaction-1")
            peer.suggest("interaction-1", number=number)
            await bridge.until_taken(number + 1)
            peer.close(4001)
        await genesys.peer(3, "interaction-1")
        assert all(event.delay_s < 0.5 for event in bridge.told(ReconnectScheduled))


async def test_a_401_on_the_handshake_renews_the_token(genesys: GenesysServer) -> None:
    """T1, T15, D10: an expired token is no failure that lasts."""
    genesys.script("/websocket", Scripted(status=401))
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        assert peer.authorization == "Bearer token-2"
        assert len(bridge.told(TokenRenewed)) == 2
        (scheduled,) = bridge.told(ReconnectScheduled)
        assert scheduled.cause == "token"
        assert scheduled.delay_s < 1
        assert "401: the token was not accepted" in scheduled.reason


@pytest.mark.parametrize(("path", "status"), [("/websocket", 429), ("/websocket", 503), ("/config", 429)])
async def test_waits_as_long_as_genesys_asks_up_to_the_cap(genesys: GenesysServer, path: str, status: int) -> None:
    """T15, D10: Retry-After."""
    genesys.script(path, Scripted(status=status, headers={"Retry-After": "120"}))
    async with running(genesys, "interaction-1", retry_after_max_s=0.02) as bridge:
        await genesys.peer(0, "interaction-1")
        assert [event.delay_s for event in bridge.told(ReconnectScheduled)] == pytest.approx([0.0205])


async def test_a_server_that_is_away_is_tried_again(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1", base_url="http://127.0.0.1:1") as bridge:
        await bridge.until(lambda: len(bridge.told(ReconnectScheduled)) >= 3)
        assert {event.cause for event in bridge.told(ReconnectScheduled)} == {"unreachable"}
        (condition,) = bridge.sockets.conditions()
        assert "http://127.0.0.1:1/api/v2/oauth/token" in condition.reason


async def test_a_handshake_that_never_ends_is_given_up(genesys: GenesysServer) -> None:
    genesys.stalled.add("/api/v2/agentassist/websocket")
    async with running(genesys, "interaction-1", request_timeout_s=0.1) as bridge:
        await bridge.until(lambda: bridge.told(ReconnectScheduled))
        assert bridge.told(ReconnectScheduled)[0].cause == "unreachable"


async def test_an_answer_that_is_no_websocket_is_tried_again(genesys: GenesysServer) -> None:
    genesys.script("/websocket", Scripted(status=101), Scripted(status=302, headers={"Location": "/elsewhere"}))
    async with running(genesys, "interaction-1") as bridge:
        await genesys.peer(0, "interaction-1")
        assert [event.cause for event in bridge.told(ReconnectScheduled)] == ["unavailable", "unexpected"]


async def test_tls_where_there_is_none_is_told_as_such(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1", base_url=genesys.base_url.replace("http:", "https:")) as bridge:
        await bridge.until(lambda: bridge.told(ReconnectScheduled))
        assert bridge.told(ReconnectScheduled)[0].cause == "tls"


# -- permanent refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "answer", "problem"),
    [
        ("/oauth/token", Scripted(status=400, body=b'{"error":"invalid_client"}'), "genesys.client_id"),
        ("/oauth/token", Scripted(status=401), "genesys.client_secret"),
        ("/contentlibraries", Scripted(status=200, body=b'{"entities":[]}'), "library-1 does not exist"),
        ("/contentlibraries", Scripted(status=403), "agentassist:view"),
        ("/config", Scripted(status=403), "agentassist:view"),
        ("/websocket", Scripted(status=403), "agentassist:view"),
        ("/websocket", Scripted(status=404), "genesys.base_url"),
    ],
)
async def test_a_permanent_refusal_at_the_start_ends_the_run_with_its_remedy(
    genesys: GenesysServer, path: str, answer: Scripted, problem: str
) -> None:
    """T2, T15: 403, a missing library and a refused client, each with its own message."""
    genesys.script(path, answer)
    async with running(genesys, "interaction-1") as bridge:
        with pytest.raises(StartError, match=problem) as raised:
            await bridge.task
        assert "secret-1" not in repr((raised.value, bridge.events))


async def test_a_permanent_refusal_after_a_good_start_is_tried_again_at_the_cap(genesys: GenesysServer) -> None:
    """T2, D10: a 403 is told with its remedy, and once it is mended the socket comes back by itself."""
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        genesys.script("/config", *[Scripted(status=403)] * 2)
        peer.drop()
        await bridge.until(lambda: [event for event in bridge.told(ReconnectScheduled) if event.cause == "forbidden"])
        assert "grant the scope" in bridge.sockets.conditions()[0].reason
        await genesys.peer(1, "interaction-1")
        forbidden = [event for event in bridge.told(ReconnectScheduled) if event.cause == "forbidden"]
        assert [event.delay_s for event in forbidden] == pytest.approx([0.0505, 0.0505])
        assert not bridge.task.done()


async def test_a_fault_of_the_intake_is_not_hidden(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        bridge.intake.taken = None  # type: ignore[assignment]
        peer.suggest("interaction-1")
        with pytest.raises(ExceptionGroup):
            await bridge.task


# -- liveness ----------------------------------------------------------------------------------------------------------


async def test_a_pause_longer_than_the_keepalive_deadline_does_not_end_the_connection(genesys: GenesysServer) -> None:
    """T6: while nothing is read, a pong is not seen either; that is not the peer's fault."""
    monotonic = Monotonic(genesys.seen)
    async with running(genesys, "interaction-1", monotonic=monotonic, idle_timeout_s=0.3) as bridge:
        peer = await genesys.peer(0, "interaction-1")
        bridge.intake.pause()
        peer.suggest("interaction-1")
        await bridge.until(lambda: bridge.intake.waiting == 1)
        for _ in range(5):
            monotonic.now_s += 100
            await monotonic.until_looked_at(3)
        bridge.intake.resume()
        peer.suggest("interaction-1")
        await bridge.until(lambda: len(bridge.intake.taken) == 2)
        assert bridge.told(SocketClosed) == []


async def test_a_silent_peer_that_answers_pings_is_alive(genesys: GenesysServer) -> None:
    monotonic = Monotonic(genesys.seen)
    async with running(genesys, "interaction-1", monotonic=monotonic, idle_timeout_s=0.3) as bridge:
        peer = await genesys.peer(0, "interaction-1")
        for _ in range(4):
            monotonic.now_s += 0.2
            await peer.until_pinged()
            await monotonic.until_looked_at(3)
        assert bridge.told(SocketClosed) == []


async def test_a_peer_that_answers_nothing_is_half_open_and_dropped(genesys: GenesysServer) -> None:
    monotonic = Monotonic(genesys.seen)
    async with running(genesys, "interaction-1", monotonic=monotonic, idle_timeout_s=0.3) as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.is_mute = True
        monotonic.now_s += 0.2
        await bridge.until(lambda: peer.pings == 1)
        assert bridge.told(SocketClosed) == []
        monotonic.now_s += 0.2
        await genesys.peer(1, "interaction-1")
        (closed,) = bridge.told(SocketClosed)
        assert (closed.cause, closed.code) == ("half-open", 1006)
        assert bridge.intake.history("interaction-1")[1] == "disconnected: half-open"


async def test_a_peer_that_does_not_read_is_dropped_too(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1", idle_timeout_s=0.3) as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.pause_reading()
        huge = tuple(_incompressible(1024 * 1024, seed=seed) for seed in range(16))
        bridge.sockets.subscribe([Subscription(interaction_id="interaction-2", suggestion_types=huge)])
        await bridge.until(lambda: bridge.told(SocketClosed))
        assert bridge.told(SocketClosed)[0].cause == "half-open"


async def test_a_peer_that_leaves_the_connection_open_after_its_close_is_dropped(
    genesys: GenesysServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "CLOSE_TIMEOUT_S", 0.05)
    async with running(genesys, "interaction-1", idle_timeout_s=0.3) as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.may_end = False
        peer.close(1012)
        await genesys.peer(1, "interaction-1")
        assert bridge.told(SocketClosed)[0].cause == "restarting"


# -- stopping ----------------------------------------------------------------------------------------------------------


async def test_stop_closes_the_socket_with_1000_and_the_run_ends(genesys: GenesysServer) -> None:
    """D4: seen by the server."""
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        await bridge.until(lambda: bridge.intake.told)
        await bridge.sockets.stop()
        await bridge.task
        await bridge.until(lambda: peer.is_gone)
        assert peer.close_code == 1000
        assert bridge.intake.history("interaction-1") == ["subscribed", "disconnected: stopped"]
        assert [event.cause for event in bridge.told(SocketClosed)] == ["stopped"]


async def test_stop_reads_on_until_the_close_is_answered_even_while_paused(genesys: GenesysServer) -> None:
    """D4: a paused close would otherwise wait for its deadline, and what was on its way would be lost."""
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        bridge.intake.pause()
        for number in range(100):
            peer.suggest("interaction-1", number=number, filler=_incompressible(16 * 1024, seed=number))
        await bridge.until(lambda: bridge.intake.waiting == 1)
        await bridge.sockets.stop()
        await bridge.task
        assert len(bridge.intake.taken) == 100
        assert peer.close_code == 1000


async def test_stop_does_not_wait_for_ever_for_a_close_that_is_not_answered(
    genesys: GenesysServer,
) -> None:
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.is_mute = True
        await bridge.sockets.stop()
        async with bridge.within(1):
            await bridge.task


@pytest.mark.parametrize("path", ["/oauth/token", "/contentlibraries", "/config", "/websocket"])
async def test_stop_breaks_off_whatever_the_opening_waits_for(genesys: GenesysServer, path: str) -> None:
    genesys.stalled |= {f"/api/v2{path}", f"/api/v2/agentassist{path}"}
    async with running(genesys, "interaction-1") as bridge:
        await bridge.until(lambda: genesys.count(path) == 1)
        await bridge.sockets.stop()
        async with bridge.within(1):
            await bridge.task
        assert bridge.told(SocketOpened) == []


async def test_stop_breaks_off_a_backoff_and_comes_before_a_start(genesys: GenesysServer) -> None:
    genesys.script("/config", Scripted(status=503))
    async with running(genesys, "interaction-1", reconnect_first_s=60, reconnect_cap_s=60) as bridge:
        await bridge.until(lambda: bridge.told(ReconnectScheduled))
        await bridge.sockets.stop()
        async with bridge.within(1):
            await bridge.task
        await bridge.sockets.run(bridge.intake)
        assert genesys.peers == []


async def test_stop_does_not_wait_for_a_run_that_does_not_end(
    genesys: GenesysServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_STOP_TIMEOUT_S", 0.05)
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        peer.is_mute = True
        async with bridge.within(1):
            await bridge.sockets.stop()
        assert not bridge.task.done()


async def test_frames_that_came_before_the_close_are_taken(genesys: GenesysServer) -> None:
    async with running(genesys, "interaction-1") as bridge:
        peer = await genesys.peer(0, "interaction-1")
        for _ in range(50):
            peer.suggest("interaction-1")
        peer.close(1001)
        await genesys.peer(1, "interaction-1")
        assert [one.occurrence for one in bridge.intake.suggestions()] == list(range(50))
        assert all(isinstance(one, Suggestions) for one in bridge.intake.taken)

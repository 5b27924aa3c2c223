import asyncio

import pytest

from bridge.simulator.faults import FaultsInForce, RunningScript
from bridge.simulator.script import AbortHandshakes, Answer, BeSlow, Burst, Fault, Garbage, Gzip, RejectToken
from bridge.simulator.times import Elapsed


def statuses(in_force: FaultsInForce, operation: str, path: str, *, times: int, now_s: float = 0) -> list[int | None]:
    answers = [in_force.take_answer(operation, path, now_s=now_s) for _ in range(times)]
    return [None if answer is None else answer.status for answer in answers]


def test_answers_as_often_as_it_says_and_once_by_default() -> None:
    in_force = FaultsInForce()
    in_force.apply(Answer(name="twice", status=503, count=2), now_s=0)
    in_force.apply(Answer(name="once", status=429), now_s=0)

    assert statuses(in_force, "config", "/", times=5) == [503, 503, 429, None, None]


def test_answers_until_its_time_is_over() -> None:
    in_force = FaultsInForce()
    in_force.apply(Answer(name="for a while", status=503, for_s=2), now_s=10)

    assert statuses(in_force, "post", "/", times=2, now_s=11.9) == [503, 503]
    assert statuses(in_force, "post", "/", times=1, now_s=12) == [None]


def test_answers_only_what_it_is_about() -> None:
    in_force = FaultsInForce()
    in_force.apply(Answer(name="by name", status=403, where="libraries", for_s=9), now_s=0)
    in_force.apply(Answer(name="by path", status=500, where="/api/v2/oauth", for_s=9), now_s=0)

    assert statuses(in_force, "config", "/api/v2/agentassist/config", times=1) == [None]
    assert statuses(in_force, "libraries", "/api/v2/agentassist/contentlibraries", times=1) == [403]
    assert statuses(in_force, "token", "/api/v2/oauth/token", times=1) == [500]


def test_counts_rejected_tokens() -> None:
    in_force = FaultsInForce()
    in_force.apply(RejectToken(name="no", count=2), now_s=0)

    assert [in_force.take_rejection() for _ in range(3)] == [True, True, False]


def test_counts_handshakes_to_abort() -> None:
    in_force = FaultsInForce()
    in_force.apply(AbortHandshakes(name="no", count=2), now_s=0)

    assert [in_force.take_abort() for _ in range(3)] == [True, True, False]


def test_is_slow_only_with_what_it_is_about() -> None:
    in_force = FaultsInForce()
    in_force.apply(BeSlow(name="a", delay_s=3, count=2, where="token"), now_s=0)

    assert [in_force.delay_s(one, "/", now_s=0) for one in ("token", "config", "token", "token")] == [3, 0, 3, 0]


def test_zips_for_a_while_or_for_some_frames() -> None:
    in_force = FaultsInForce()
    in_force.apply(Gzip(name="while", for_s=1), now_s=5)
    in_force.apply(Gzip(name="once"), now_s=5)

    assert [in_force.take_gzip(now_s=now_s) for now_s in (5, 5.9, 6, 6)] == [True, True, True, False]


def test_the_slowest_fault_in_force_counts() -> None:
    in_force = FaultsInForce()
    in_force.apply(BeSlow(name="a", delay_s=1, for_s=10), now_s=0)
    in_force.apply(BeSlow(name="b", delay_s=3, for_s=5), now_s=0)

    assert [in_force.delay_s(now_s=now_s) for now_s in (0, 5, 10)] == [3, 1, 0]


async def test_performs_what_is_posted_while_it_runs_and_notes_when() -> None:
    script = RunningScript([Burst(name="first", frames=1)], takes=(Burst,), elapsed=Elapsed())
    performed: asyncio.Queue[Fault] = asyncio.Queue()
    running = asyncio.create_task(script.run(performed.put_nowait))

    async with asyncio.timeout(10):
        first = await performed.get()
        script.post([Burst(name="third", at_s=0.02, frames=3), Burst(name="second", frames=2)])
        names = [fault.name for fault in (first, await performed.get(), await performed.get())]
    running.cancel()

    assert names == ["first", "second", "third"]
    assert [(one.name, one.fault) for one in script.applied] == [(name, "burst") for name in names]
    assert script.applied[0].at_s <= script.applied[1].at_s <= script.applied[2].at_s


async def test_takes_only_what_the_simulator_can_do() -> None:
    with pytest.raises(ValueError, match="cannot do Garbage"):
        RunningScript([Garbage(name="g")], takes=(Burst,), elapsed=Elapsed())

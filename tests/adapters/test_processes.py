"""Processes that are asked how they are, over real HTTP."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from bridge.adapters import http
from bridge.adapters.processes import ask_processes
from bridge.core.events.kinds import Event
from bridge.core.status import ProcessStatus
from bridge.ports import Condition


def _tell_nobody(_: Event) -> None:
    """Nobody listens."""


async def _asked(registry: CollectorRegistry, *conditions: Condition) -> ProcessStatus:
    serving = http.serve(
        http.Options(port=0),
        alive=lambda: conditions,
        conditions=lambda: conditions,
        registry=registry,
        emit=_tell_nobody,
    )
    async with serving as port:
        return (await ask_processes([f"http://127.0.0.1:{port}/"]))[0]


async def test_a_process_says_whether_it_is_ready_and_what_is_not() -> None:
    found = await _asked(
        CollectorRegistry(),
        Condition(name="ranker", is_ready=True),
        Condition(name="genesys", is_ready=False, reason="no socket"),
    )
    assert (found.is_ready, found.faults) == (False, ["genesys: no socket"])
    assert (found.is_valve_closed, found.sockets, found.subscriptions) == (None, None, None)
    assert (found.is_kmp_down, found.is_breaker_tripped) == (None, None)


async def test_valve_sockets_subscriptions_and_breaker_stand_among_its_metrics() -> None:
    registry = CollectorRegistry()
    Gauge("bridge_valve_closed", "-", registry=registry).set(1)
    Gauge("bridge_genesys_sockets", "-", registry=registry).set(2)
    Gauge("bridge_ingress_subscriptions", "-", registry=registry).set(7)
    Gauge("bridge_kmp_down", "-", registry=registry).set(0)
    Gauge("bridge_breaker_tripped", "-", registry=registry).set(1)
    Counter("bridge_frames", "-", ["cause"], registry=registry).labels(cause="x").inc()
    found = await _asked(registry, Condition(name="ingress", is_ready=True))
    assert (found.is_ready, found.faults) == (True, [])
    assert (found.is_valve_closed, found.sockets, found.subscriptions) == (True, 2, 7)
    assert (found.is_kmp_down, found.is_breaker_tripped) == (False, True)


async def test_one_that_does_not_answer_is_not_ready() -> None:
    nobody, nothing = await ask_processes(["http://127.0.0.1:1", "nonsense"])
    assert (nobody.is_ready, nobody.faults) == (False, ["no answer: ConnectError"])
    assert not nothing.is_ready

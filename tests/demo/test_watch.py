"""The running demo as a snapshot."""

from bridge.core.events.exporter import ExportDelivered, ExportRetried
from bridge.core.events.hops import BatchRanked, BatchTallied
from bridge.core.events.ingress import FrameSetAside, FramesWritten, LagSampled, ValveClosed, ValveOpened
from bridge.demo.timeline import plan
from bridge.demo.watch import Watch, percentile

DELIVERED = ExportDelivered(export_id="e", status=200, attempts=1, took_s=0.01, in_flight=0)


def watch(*, is_running: bool = True) -> Watch:
    """A watch over a demo so short that every fault has begun."""
    watching = Watch(plan(0.0, burst_frames=1), seconds=0.0, clock=lambda: 7)
    if is_running:
        watching.start()
    return watching


def totals(watching: Watch) -> dict[str, int]:
    return {count.name: count.total for count in watching.snapshot().counts if count.total}


def test_counts_each_hop_from_the_workers_events() -> None:
    watching = watch()
    watching.sent(9)
    watching.emit(FramesWritten(topic="p-raw-suggestions", partition=0, records=5, value_bytes=1, age_s=0))
    watching.emit(FramesWritten(topic="p-suggestion-audit", partition=0, records=5, value_bytes=1, age_s=0))
    watching.emit(FrameSetAside(dlq_class="decode", reason="no"))
    watching.emit(BatchRanked(number=0, records=5, ranked=3, withheld=1, superseded=0, dead=1, age_s=0))
    watching.emit(
        BatchTallied(
            number=0,
            lists=3,
            lists_repeated=0,
            clicks=2,
            clicks_repeated=0,
            clicks_moved=0,
            dead=1,
            forgotten=0,
            open_interactions=1,
            waiting=0,
            age_s=0,
        )
    )
    watching.emit(DELIVERED)
    assert totals(watching) == {
        "frames sent": 9,
        "raw": 5,
        "ranked": 3,
        "withheld": 1,
        "clicks": 2,
        "exports delivered": 1,
        "dead letters": 3,
    }


def test_follows_lag_and_valve() -> None:
    watching = watch()
    assert watching.snapshot().is_valve_open
    watching.emit(LagSampled(lag_records=12, age_s=0.5))
    watching.emit(ValveClosed(lag_records=12))
    assert (watching.snapshot().lag_records, watching.snapshot().is_valve_open) == (12, False)
    watching.emit(ValveOpened(lag_records=0))
    assert watching.valve == [(7, False), (7, True)]


def test_a_fault_is_over_only_after_it_was_felt() -> None:
    watching = watch()
    watching.emit(DELIVERED)
    kmp_down = next(one for one in watching.snapshot().faults if one.name.startswith("KMP"))
    assert kmp_down.over_after_s is None
    watching.emit(ExportRetried(export_id="e", cause="503", detail="", delay_s=1, attempts=1, took_s=0.01, in_flight=0))
    watching.emit(DELIVERED)
    kmp_down = next(one for one in watching.snapshot().faults if one.name.startswith("KMP"))
    assert kmp_down.over_after_s is not None


def test_nothing_has_begun_before_the_start() -> None:
    watching = watch(is_running=False)
    watching.emit(DELIVERED)
    assert watching.elapsed_s == 0
    assert watching.snapshot().latency_ms is None


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([5], 99) == 5
    assert percentile(list(range(1, 101)), 50) == 50
    assert percentile(list(range(1, 101)), 99) == 99

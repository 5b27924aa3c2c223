"""The ladder of backpressure, from the events of ingress."""

from bridge.core.events.ingress import (
    FramesShed,
    HoldingSampled,
    PauseOverrun,
    PauseProlonged,
    ReadingPaused,
    ReadingResumed,
    ValveClosed,
    ValveOpened,
    ValveOverridden,
    WritingResumed,
    WritingStalled,
)
from bridge.core.events.kinds import Event
from bridge.demo import ladder
from bridge.demo.ladder import Ladder, Step


class Climb:
    """A ladder, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.at_ms = 0
        self.ladder = Ladder(clock=lambda: self.at_ms)

    def emit(self, event: Event, *, at_s: float) -> None:
        self.at_ms = round(at_s * 1000)
        self.ladder.emit(event)

    def step(self, name: str) -> Step:
        (found,) = [step for step in self.ladder.told().steps if step.name == name]
        return found


def test_a_quiet_day_takes_no_step() -> None:
    told = Climb().ladder.told()
    assert [step.name for step in told.steps] == [
        ladder.VALVE,
        ladder.PAUSE,
        ladder.BOUND,
        ladder.AWAY,
        ladder.SHED,
    ]
    assert all((step.times, step.longest_s) == (0, None) for step in told.steps)
    assert (told.most_held_frames, told.most_held_bytes) == (0, 0)


def test_each_step_is_told_with_how_often_and_how_long() -> None:
    climb = Climb()
    climb.emit(ValveClosed(lag_records=200), at_s=1.0)
    climb.emit(ReadingPaused(cause="valve"), at_s=1.0)
    climb.emit(ValveOverridden(lag_records=300, paused_s=0.25), at_s=1.25)
    climb.emit(ReadingResumed(paused_s=2.0), at_s=3.0)
    climb.emit(ValveOpened(lag_records=0), at_s=3.5)
    assert climb.step(ladder.VALVE) == Step(name=ladder.VALVE, times=1, longest_s=2.5)
    assert climb.step(ladder.PAUSE) == Step(name=ladder.PAUSE, times=1, longest_s=0.25)
    assert climb.step(ladder.BOUND) == Step(name=ladder.BOUND, times=1, longest_s=1.75)


def test_the_longest_time_is_kept() -> None:
    climb = Climb()
    for begin_s, end_s in ((0, 1), (2, 5), (6, 7)):
        climb.emit(ReadingPaused(cause="queue"), at_s=begin_s)
        climb.emit(ReadingResumed(paused_s=end_s - begin_s), at_s=end_s)
    assert climb.step(ladder.PAUSE) == Step(name=ladder.PAUSE, times=3, longest_s=3.0)


def test_a_pause_that_goes_on_beyond_its_bound_is_both() -> None:
    climb = Climb()
    climb.emit(ReadingPaused(cause="valve"), at_s=0)
    climb.emit(PauseProlonged(cause="valve", paused_s=10), at_s=10)
    climb.emit(PauseOverrun(cause="valve", paused_s=20), at_s=20)
    climb.emit(ReadingResumed(paused_s=30), at_s=30)
    assert climb.step(ladder.PAUSE).longest_s == 20.0
    assert climb.step(ladder.BOUND) == Step(name=ladder.BOUND, times=2, longest_s=20.0)


def test_a_kafka_that_is_away_and_what_was_shed_meanwhile_are_the_last_steps() -> None:
    climb = Climb()
    climb.emit(WritingStalled(stalled_s=2, frames=1, held_bytes=1), at_s=2)
    climb.emit(FramesShed(cause="kafka", frames=7, interactions=2), at_s=3)
    climb.emit(FramesShed(cause="kafka", frames=5, interactions=2), at_s=4)
    climb.emit(WritingResumed(stalled_s=6), at_s=6)
    assert climb.step(ladder.AWAY) == Step(name=ladder.AWAY, times=1, longest_s=4.0)
    assert climb.step(ladder.SHED) == Step(name=ladder.SHED, times=12, longest_s=None)


def test_the_most_that_was_held_is_kept() -> None:
    climb = Climb()
    for frames, held_bytes in ((3, 900), (9, 800), (1, 700)):
        climb.emit(HoldingSampled(frames=frames, held_bytes=held_bytes, subscriptions=1), at_s=1)
    told = climb.ladder.told()
    assert (told.most_held_frames, told.most_held_bytes) == (9, 900)


def test_now_is_the_highest_step_that_lasts() -> None:
    climb = Climb()
    seen = [climb.ladder.now()]
    for event in (
        ValveClosed(lag_records=200),
        ReadingPaused(cause="valve"),
        ValveOverridden(lag_records=200, paused_s=1),
        WritingStalled(stalled_s=2, frames=1, held_bytes=1),
        WritingResumed(stalled_s=2),
        ReadingResumed(paused_s=2),
        ValveOpened(lag_records=0),
    ):
        climb.emit(event, at_s=1)
        seen.append(climb.ladder.now())
    up = [None, ladder.VALVE, ladder.PAUSE, ladder.BOUND, ladder.AWAY]
    assert seen == [*up, ladder.BOUND, ladder.VALVE, None]


def test_a_step_that_still_lasts_is_told_up_to_now() -> None:
    climb = Climb()
    climb.emit(ValveClosed(lag_records=200), at_s=1)
    climb.at_ms = 4_000
    assert climb.step(ladder.VALVE).longest_s == 3.0

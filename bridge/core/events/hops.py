"""What the ranker and the tally tell: one event a batch, so that telling costs nothing."""

from dataclasses import dataclass
from typing import ClassVar

from bridge.core.events.kinds import Counter, Event, Gauge, Histogram, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRanked(Event):
    """A batch of raw suggestions is ranked and committed. The age is that of its oldest record."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Counter("bridge_ranker_records", "Raw records taken", by="records"),
        Counter("bridge_ranker_ranked", "Ranked lists written", by="ranked"),
        Counter("bridge_ranker_withheld", "Lists of which no suggestion was left", by="withheld"),
        Counter("bridge_ranker_superseded", "Lists skipped, too old beside a newer one", by="superseded"),
        Counter("bridge_ranker_dead_letters", "Raw records that could not be used", by="dead"),
        Histogram("bridge_ranker_age_seconds", "From a raw record's time to its commit, the oldest", value="age_s"),
    )

    number: int
    records: int
    ranked: int
    withheld: int
    superseded: int
    dead: int
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTallied(Event):
    """A batch of lists and clicks is counted and committed. The age is that of its oldest record.

    `waiting` are records that wait for the other topic; `open_interactions` those with a tally in this number.
    """

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Counter("bridge_tally_lists", "Ranked lists counted", by="lists"),
        Counter("bridge_tally_lists_repeated", "Ranked lists seen before, not counted", by="lists_repeated"),
        Counter("bridge_tally_clicks", "Clicks counted and exported", by="clicks"),
        Counter("bridge_tally_clicks_repeated", "Clicks seen before, not counted", by="clicks_repeated"),
        Counter("bridge_tally_clicks_moved", "Clicks sent on to the right partition", by="clicks_moved"),
        Counter("bridge_tally_dead_letters", "Clicks and lists that could not be used", by="dead"),
        Counter("bridge_tally_forgotten", "Tallies of silent interactions, forgotten", by="forgotten"),
        Gauge("bridge_tally_interactions", "Interactions with a tally", labels=("number",), value="open_interactions"),
        Gauge("bridge_tally_waiting_records", "Records that wait for the other topic", ("number",), value="waiting"),
        Histogram("bridge_tally_age_seconds", "From a record's time to its commit, the oldest", value="age_s"),
    )

    number: int
    lists: int
    lists_repeated: int
    clicks: int
    clicks_repeated: int
    clicks_moved: int
    dead: int
    forgotten: int
    open_interactions: int
    waiting: int
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyUnreadable(Event):
    """A record of the state topic was written by someone else: its interaction is counted anew."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (Counter("bridge_tally_unreadable", "State records that could not be read"),)

    partition: int
    offset: int
    reason: str

"""Lists and clicks of one number counted again, and every acceptance compared with what that comes to."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bridge.core import acceptance
from bridge.core.acceptance import (
    LATE_MS,
    Acceptance,
    Tallies,
    decode_acceptance,
    export_id_of,
    export_of,
    identity_of_click,
)
from bridge.core.errors import MalformedError
from bridge.core.partitions import partition_of
from bridge.core.ranking import RankedList, decode_ranked
from bridge.core.records import Record, identity_of, positions_of
from bridge.core.replay import Offsets
from bridge.core.times import from_rfc3339
from bridge.core.values import Click, decode_click
from bridge.core.verify_findings import ACCEPTANCE, Findings
from bridge.core.verify_scope import Scope


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a recount says of the click at `offset`, appended at `at_ms`: whether it counts.

    None where it cannot be known, because lists or clicks of its interaction are gone.

    `body` and `export_id` are what its export must be, where it counts.
    """

    offset: int
    at_ms: int
    is_counted: bool | None
    body: bytes = b""
    export_id: bytes = b""


class _List(msgspec.Struct, frozen=True, gc=False):
    offset: int
    at_ms: int
    identity: bytes
    ranked: RankedList | None


class _Click(msgspec.Struct, frozen=True, gc=False):
    offset: int
    at_ms: int
    identity: str
    click: Click | None


_NOWHERE: Mapping[str, int] = {}


class Recounting:
    """Counts by the rule of the tally, in its order, and stops where each of its transactions ended.

    An acceptance carries the positions of the transaction that wrote it (`x-positions`), so lists and clicks wait for
    the acceptances, and are counted up to exactly there. Where the beginning of the topics is gone, an
    interaction that is older is taken over from the first acceptance that counts up to what is left.
    """

    def __init__(
        self,
        scope: Scope,
        options: acceptance.Options,
        findings: Findings,
        *,
        judge: Callable[[Verdict], None],
        unreadable: Callable[[int], None],
    ) -> None:
        self._topics = scope.topics
        self._number = scope.number
        self._reads_from = scope.reads_from
        self._from_ms = scope.counted_from_ms
        self._dead_lists = scope.dead.get(scope.topics.ranked_suggestions, Offsets())
        self._dead_clicks = scope.dead.get(scope.topics.suggestion_clicks, Offsets())
        self._findings = findings
        self._judge = judge
        self._unreadable = unreadable
        self._tallies = Tallies(options)
        self._inputs: deque[_List | _Click] = deque()
        self._states: deque[tuple[Mapping[str, int], Record]] = deque()
        self._spelled = b""
        self._positions: Mapping[str, int] = _NOWHERE
        self._counted_to: Mapping[str, int] = _NOWHERE
        self._changed: dict[str, tuple[str, int]] = {}
        self._known: set[str] = set()
        self._doubtful: dict[str, list[Verdict]] = {}
        self._wrong: set[str] = set()
        self._compared = 0

    # -- what is read --------------------------------------------------------------------------------------------------

    def lists(self, records: Sequence[Record]) -> None:
        """Takes ranked lists. Lists and clicks come in the order in which they are to be counted."""
        for record in records:
            self._inputs.append(_List(record.offset, record.timestamp, identity_of(record), self._list(record)))

    def clicks(self, records: Sequence[Record]) -> None:
        """Takes clicks."""
        for record in records:
            click = self._click(record)
            identity = "" if click is None else identity_of_click(click, record)
            self._inputs.append(_Click(record.offset, record.timestamp, identity, click))

    def states(self, records: Sequence[Record]) -> None:
        """Takes records of the acceptance topic."""
        for record in records:
            self._states.append((self._positions_in(record), record))

    def advance(self, read_to: Callable[[str], int]) -> None:
        """Counts and compares as far as both topics were read; `read_to` says how far that is."""
        lists, clicks = self._topics.ranked_suggestions, self._topics.suggestion_clicks
        while self._states:
            positions, record = self._states[0]
            if read_to(lists) < positions.get(lists, 0) or read_to(clicks) < positions.get(clicks, 0):
                return
            self._states.popleft()
            if any(positions.get(topic, 0) < self._reads_from[topic] for topic in (lists, clicks)):
                self._compared += 1
                self._findings.count(ACCEPTANCE, unproven=1)
                continue
            if positions is not self._counted_to:
                self.count_to(positions)
            self._compare(record)

    @property
    def waiting(self) -> int:
        """How many lists, clicks and acceptances were taken and not yet counted or compared."""
        return len(self._inputs) + len(self._states)

    def _list(self, record: Record) -> RankedList | None:
        if record.offset in self._dead_lists:
            return None
        try:
            return decode_ranked(record)
        except MalformedError:
            return None

    def _click(self, record: Record) -> Click | None:
        if record.offset in self._dead_clicks:
            return None
        try:
            click = decode_click(record)
        except MalformedError:
            return None
        return click if partition_of(record.key or b"", self._topics.partitions) == record.partition else None

    def _positions_in(self, record: Record) -> Mapping[str, int]:
        # All acceptances of one transaction carry the same ones.
        spelled = dict(record.headers).get("x-positions", b"")
        if spelled != self._spelled:
            self._spelled, self._positions = spelled, positions_of(record)
        return self._positions

    # -- counting ------------------------------------------------------------------------------------------------------

    def count_to(self, positions: Mapping[str, int]) -> None:
        """Counts what stands before these positions.

        A click that was seen late (`acceptance.LATE_MS`) is counted with a later transaction than lists that are
        younger. A list never is: it would be missing in the rate of a click that had been counted.
        """
        self._counted_to = positions
        lists = positions.get(self._topics.ranked_suggestions, 0)
        clicks = positions.get(self._topics.suggestion_clicks, 0)
        inputs, late = self._inputs, deque[_List | _Click]()
        while inputs and not (late and inputs[0].at_ms > late[0].at_ms + LATE_MS):
            head = inputs[0]
            if isinstance(head, _List):
                if head.offset >= lists:
                    break
                self._count_list(head)
            elif head.offset >= clicks:
                late.append(head)
            else:
                self._count_click(head)
            inputs.popleft()
        inputs.extendleft(reversed(late))

    def _count_list(self, taken: _List) -> None:
        if taken.ranked is None:
            self._unreadable(taken.offset)
            return
        before = self._tallies.of(taken.ranked.interaction_id, at_ms=taken.at_ms)
        after = before.with_list(taken.identity, taken.ranked.suggestion_ids, at_ms=taken.at_ms)
        if after is not None:
            self._keep(after, self._topics.ranked_suggestions, taken.offset)

    def _count_click(self, taken: _Click) -> None:
        click = taken.click
        if click is None:
            self._judge(Verdict(offset=taken.offset, at_ms=taken.at_ms, is_counted=False))
            return
        before = self._tallies.of(click.interaction_id, at_ms=taken.at_ms)
        counted = before.with_click(taken.identity, click.suggestion_id, at_ms=taken.at_ms)
        verdict = Verdict(offset=taken.offset, at_ms=taken.at_ms, is_counted=False)
        if counted is not None:
            self._keep(counted.after, self._topics.suggestion_clicks, taken.offset)
            verdict = Verdict(
                offset=taken.offset,
                at_ms=taken.at_ms,
                is_counted=True,
                body=export_of(click, acceptance_rate=counted.rate, timestamp_ms=taken.at_ms),
                export_id=export_id_of(click.interaction_id, taken.identity).encode(),
            )
        if self._is_known(click.interaction_id):
            self._judge(verdict)
        else:
            self._doubtful.setdefault(click.interaction_id, []).append(verdict)

    def _keep(self, after: Acceptance, topic: str, offset: int) -> None:
        self._changed[after.interaction_id] = (topic, offset)
        for forgotten in self._tallies.keep(after):
            # Its last acceptance may be gone already: a null, and later nothing at all.
            self._changed.pop(forgotten, None)
            self._wrong.discard(forgotten)

    # -- comparing -----------------------------------------------------------------------------------------------------

    def _compare(self, record: Record) -> None:
        interaction_id = (record.key or b"").decode(errors="replace")
        self._changed.pop(interaction_id, None)
        self._compared += 1
        if not self._is_known(interaction_id) and not self._get_to_know(interaction_id, record):
            self._findings.count(ACCEPTANCE, unproven=1)
            return
        mine = self._tallies.get(interaction_id)
        if record.value != (None if mine is None else msgspec.json.encode(mine)):
            self._offend(interaction_id, record, mine)

    def _is_known(self, interaction_id: str) -> bool:
        return self._from_ms is None or interaction_id in self._known

    def _get_to_know(self, interaction_id: str, record: Record) -> bool:
        """Whether all of an interaction was counted here; else its acceptance is taken over."""
        self._known.add(interaction_id)
        found = _decoded(record)
        first_ms = 0 if found is None else from_rfc3339(found.first_at)
        is_whole = first_ms > (self._from_ms or 0)
        for verdict in self._doubtful.pop(interaction_id, ()):
            # An interaction that comes back long after it was forgotten begins anew: its former life stays unknown.
            self._judge(verdict if is_whole and verdict.at_ms >= first_ms else _unknown(verdict))
        if is_whole:
            return True
        if found is None:
            self._tallies.forget(interaction_id)
        else:
            self._tallies.restore(found)
        return False

    def _offend(self, interaction_id: str, record: Record, mine: Acceptance | None) -> None:
        is_first = interaction_id not in self._wrong
        self._wrong.add(interaction_id)
        self._findings.offend(
            ACCEPTANCE,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            what=_difference(record, mine),
            is_named=is_first,
        )

    # -- the end -------------------------------------------------------------------------------------------------------

    def is_open_before(self, due_before: Mapping[str, int]) -> bool:
        """Whether an acceptance is missing for something that was counted below these positions."""
        return bool(self._states) or any(offset < due_before.get(topic, 0) for topic, offset in self._changed.values())

    def finish(self, due_before: Mapping[str, int]) -> None:
        """Counts what the tally has worked, and names what changed an interaction that has no acceptance since."""
        topics = (self._topics.ranked_suggestions, self._topics.suggestion_clicks)
        self.count_to({topic: max(due_before.get(topic, 0), self._counted_to.get(topic, 0)) for topic in topics})
        self._findings.count(ACCEPTANCE, left=self._compared, right=self._compared)
        for verdicts in self._doubtful.values():
            for verdict in verdicts:
                self._judge(_unknown(verdict))
        for topic, offset in sorted(self._changed.values()):
            if offset >= due_before.get(topic, 0):
                self._findings.count(ACCEPTANCE, left=1, open=1)
                continue
            self._findings.count(ACCEPTANCE, left=1)
            what = "it changed the acceptance of its interaction, and no acceptance tells of it"
            self._findings.offend(ACCEPTANCE, topic=topic, partition=self._number, offset=offset, what=what)


def _unknown(verdict: Verdict) -> Verdict:
    return Verdict(offset=verdict.offset, at_ms=verdict.at_ms, is_counted=None)


def _decoded(record: Record) -> Acceptance | None:
    try:
        return None if record.value is None else decode_acceptance(record)
    except MalformedError:
        return None


def _difference(record: Record, mine: Acceptance | None) -> str:
    """What is other than a recount: names of fields, and numbers."""
    found = _decoded(record)
    if mine is None:
        return "it stands for an interaction of which nothing was counted, or that is forgotten"
    if found is None:
        return "it is null, or cannot be read, and the interaction is not forgotten"
    fields = (
        (name, getattr(found, attribute), getattr(mine, attribute))
        for attribute, name in zip(Acceptance.__struct_fields__, Acceptance.__struct_encode_fields__, strict=True)
    )
    differing = [(name, theirs, ours) for name, theirs, ours in fields if theirs != ours]
    spelled = [f"{name} is {theirs}, a recount comes to {ours}" for name, theirs, ours in differing if name != "recent"]
    return "; ".join(spelled) or "its memory (`recent`) is not what a recount comes to"

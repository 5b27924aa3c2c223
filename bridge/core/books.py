"""The books of the demo: equations between sets that show that nothing is missing and nothing is double.

They are kept from what stands on the topics and what the other side remembers, never from the workers' own counters;
and as sets, because sums hide a loss beside a duplicate.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from bridge.core.missed import Excuse, MissedTold, excuses_of, summed_up
from bridge.core.records import X_SOURCE, Record, digest, header_of, identity_of, source_of
from bridge.core.recount import recount, spell
from bridge.core.topics import Topics


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One equation. `missing` stands on the left only, `doubled` on the right more often than on the left."""

    line: str
    left: int
    right: int
    missing: tuple[str, ...]
    doubled: tuple[str, ...]
    ok: bool


class FrameSent(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that Genesys sent: `digest` of its bytes before any gzip, `at_ms` when."""

    serial: int
    digest: str
    interaction_id: str | None
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Everything the books are kept from.

    `clicks` are the positions (`topic/partition/offset`) of the clicks that agents sent, None for one that no broker
    has confirmed; `held` the keys of the exports that the KMP holds, `records` what stands on each topic.
    """

    topics: Topics
    frames: Sequence[FrameSent]
    clicks: Sequence[str | None]
    held: Sequence[str]
    records: Mapping[str, Sequence[Record]]


def balance(accounts: Accounts) -> list[Line]:
    """Every line of the books, in the order of the data."""
    read = _Read(accounts)
    counts = recount(
        accounts.records[accounts.topics.ranked_suggestions],
        accounts.records[accounts.topics.suggestion_clicks],
        topics=accounts.topics,
    )
    counted = [click.position for click in counts.clicks]
    exports = read.sources(accounts.topics.acceptance_exports)
    export_ids = [identity_of(record).decode() for record in accounts.records[accounts.topics.acceptance_exports]]
    return [
        _frames_line(accounts, read),
        compare(
            "raw = ranked + withheld + superseded + dead letters",
            read.positions(accounts.topics.raw_suggestions),
            [
                *read.sources(accounts.topics.ranked_suggestions),
                *read.audited("suggestions_withheld"),
                *read.audited("suggestions_superseded"),
                *read.dead(accounts.topics.dlq_ranker),
            ],
        ),
        compare(
            "ranked = suggestions_retrieved",
            read.sources(accounts.topics.ranked_suggestions),
            read.audited("suggestions_retrieved"),
        ),
        _clicks_line(
            accounts.clicks,
            [counts.as_sent(place) for place in (*counted, *read.audited("click_repeated"), *read.dead_clicks())],
        ),
        compare("counted = exports", counted, exports),
        compare("exports = suggestion_accepted", exports, read.audited("suggestion_accepted")),
        compare("exports = acceptance_exported", export_ids, read.exported()),
        compare(
            "exports = held by the KMP + refused",
            export_ids,
            [*accounts.held, *(identity_of(record).decode() for record in read.refused())],
        ),
        compare("acceptance = a recount", counts.acceptances(), read.acceptances()),
        compare("every exported rate = a recount", counts.rates(), read.rates()),
    ]


def compare(line: str, left: Iterable[str], right: Iterable[str]) -> Line:
    """The line that says whether each name stands on both sides equally often."""
    left, right = Counter(left), Counter(right)
    missing, doubled = left - right, right - left
    return Line(
        line=line,
        left=left.total(),
        right=right.total(),
        missing=tuple(sorted(missing.elements())),
        doubled=tuple(sorted(doubled.elements())),
        ok=not missing and not doubled,
    )


def missed(accounts: Accounts) -> list[MissedTold]:
    """What was told as missed, by event and cause, and how many frames were in fact lost within."""
    return summed_up(_missing(accounts, _Read(accounts)).excuses)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """The digests of frames that became raw records or dead letters, and of those whose loss was told."""

    arrived: Sequence[str]
    lost: Sequence[str]
    excuses: Mapping[str, Sequence[Excuse]]


def _missing(accounts: Accounts, read: "_Read") -> _Missing:
    arrived = [digest(record.value or b"") for record in read.frames()]
    left = Counter(arrived)
    lost: list[str] = []
    excuses = read.excuses()
    for frame in accounts.frames:
        if left[frame.digest] > 0:
            left[frame.digest] -= 1
        elif any(excuse.covers(frame.at_ms) for excuse in excuses.get(frame.interaction_id or "", ())):
            lost.append(frame.digest)
    return _Missing(arrived=arrived, lost=lost, excuses=excuses)


def _frames_line(accounts: Accounts, read: "_Read") -> Line:
    # Frames are compared by their bytes, and told by their serial.
    told = {frame.digest: f"frame {frame.serial}" for frame in accounts.frames}
    missing = _missing(accounts, read)
    return compare(
        f"frames sent = raw + dead letters + lost inside a told gap ({len(missing.lost)})",
        (told[frame.digest] for frame in accounts.frames),
        (told.get(one, f"a frame that nobody sent ({one})") for one in [*missing.arrived, *missing.lost]),
    )


def _is_frame(letter: Record) -> bool:
    # A record of the subscription topic that is no subscription is set aside there, too.
    return header_of(letter, "__connect.errors.stage") == b"frame"


def _clicks_line(sent: Iterable[str | None], found: Sequence[str]) -> Line:
    # What no broker has confirmed may stand there or not: of those that nobody else sent, it is as many as there are.
    places = Counter(sent)
    unconfirmed = places.pop(None, 0)
    confirmed = [place for place in places.elements() if place is not None]
    others = list((Counter(found) - Counter(confirmed)).elements())
    return compare("clicks sent = counted + repeated + dead letters", [*confirmed, *others[:unconfirmed]], found)


class _Audit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    event: str
    export_id: str = ""


class _Kept(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    interaction_id: str
    retrieved: int
    accepted: int
    acceptance_rate: float


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    interaction_id: str
    acceptance_rate: float


class _Read:
    """What stands on the topics, by what the lines ask for."""

    def __init__(self, accounts: Accounts) -> None:
        self._topics = accounts.topics
        self._records = accounts.records
        decoder = msgspec.json.Decoder(_Audit)
        self._audit = [
            (record, decoder.decode(record.value or b"null"))
            for record in accounts.records[self._topics.suggestion_audit]
        ]

    def positions(self, topic: str) -> Iterator[str]:
        return map(source_of, self._records[topic])

    def sources(self, topic: str) -> list[str]:
        return [_source(record) for record in self._records[topic]]

    def audited(self, event: str) -> list[str]:
        return [_source(record) for record, audit in self._audit if audit.event == event]

    def exported(self) -> list[str]:
        return [audit.export_id for _, audit in self._audit if audit.event == "acceptance_exported"]

    def dead(self, topic: str) -> list[str]:
        return [_origin(record) for record in self._records[topic]]

    def dead_clicks(self) -> list[str]:
        clicks = self._topics.suggestion_clicks + "/"
        return [origin for origin in self.dead(self._topics.dlq_clicks) if origin.startswith(clicks)]

    def refused(self) -> Iterator[Record]:
        return (
            one for one in self._records[self._topics.dlq_exports] if header_of(one, "x-dlq-class") == b"http-refused"
        )

    def frames(self) -> Iterator[Record]:
        """What came of frames: raw records and dead letters."""
        yield from self._records[self._topics.raw_suggestions]
        yield from filter(_is_frame, self._records[self._topics.dlq_ingress])

    def excuses(self) -> dict[str, list[Excuse]]:
        told = ((audit.event, record) for record, audit in self._audit)
        return excuses_of(told, self._records[self._topics.raw_suggestions])

    def acceptances(self) -> Iterator[str]:
        latest = {record.key: record for record in self._records[self._topics.interaction_acceptance]}
        decoder = msgspec.json.Decoder(_Kept)
        for record in latest.values():
            if record.value is not None:
                kept = decoder.decode(record.value)
                yield spell(kept.interaction_id, kept.retrieved, kept.accepted, kept.acceptance_rate)

    def rates(self) -> Iterator[str]:
        decoder = msgspec.json.Decoder(_Body)
        for record in self._records[self._topics.acceptance_exports]:
            body = decoder.decode(record.value or b"null")
            yield f"{_source(record)}: {body.interaction_id} at {body.acceptance_rate!r}"


def _source(record: Record) -> str:
    return (header_of(record, X_SOURCE) or b"nowhere").decode()


def _origin(record: Record) -> str:
    names = ("topic", "partition", "offset")
    return "/".join((header_of(record, f"__connect.errors.{name}") or b"?").decode() for name in names)

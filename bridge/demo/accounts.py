"""What books, recoveries and latencies are made from: the topics as they are, and what the simulators saw."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.reader import read
from bridge.core.books import Accounts, FrameSent
from bridge.core.records import X_SOURCE, Record, digest, header_of, identity_of
from bridge.core.topics import Topics
from bridge.simulator.agents import SentClick
from bridge.simulator.kmp import Post
from bridge.simulator.outlet import SentFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the simulators remember, and what stands on each topic."""

    topics: Topics
    frames: Sequence[SentFrame]
    clicks: Sequence[SentClick]
    posts: Sequence[Post]
    records: Mapping[str, Sequence[Record]]

    def accounts(self) -> Accounts:
        """The same as the books take it."""
        return Accounts(
            topics=self.topics,
            frames=[
                FrameSent(
                    serial=frame.serial,
                    digest=frame.digest,
                    interaction_id=frame.interaction_id,
                    at_ms=frame.at_ms,
                )
                for frame in self.frames
            ],
            clicks=[position_of(click) for click in self.clicks],
            held=sorted({post.key for post in self.posts if post.key and is_delivered(post)}),
            records=self.records,
        )

    def raw_times(self) -> dict[str, int]:
        """When each frame that became a raw record or a dead letter was received, by its digest."""
        topics = (self.topics.raw_suggestions, self.topics.dlq_ingress)
        return {digest(one.value or b""): one.timestamp for topic in topics for one in self.records[topic]}

    def click_to_kmp_ms(self) -> list[int]:
        """From each click to the moment when the KMP held its export."""
        clicked = {place: click.at_ms for click in self.clicks if (place := position_of(click)) is not None}
        held: dict[str, int] = {}
        for post in self.posts:
            if post.key is not None and is_delivered(post):
                held.setdefault(post.key, post.at_ms)
        exports = self.records[self.topics.acceptance_exports]
        pairs = ((_source(export), identity_of(export).decode()) for export in exports)
        return [held[key] - clicked[source] for source, key in pairs if key in held and source in clicked]


async def read_topics(clients: Clients, topics: Topics) -> dict[str, list[Record]]:
    """Every record that stands on each topic now, committed ones only."""
    records: dict[str, list[Record]] = {}
    for name in topics.names():
        async with aclosing(read(clients, name, from_start=True, until_end=True)) as found:
            records[name] = [record async for record in found]
    return records


def position_of(click: SentClick) -> str | None:
    """Where a click stands, as `x-source` spells it; None for one that no broker has confirmed."""
    # A broker that knows a batch already confirms it without a place.
    return None if click.offset is None or click.offset < 0 else f"{click.topic}/{click.partition}/{click.offset}"


def is_delivered(post: Post) -> bool:
    """The KMP has it: it answered 2xx."""
    return 200 <= post.status < 300


def _source(record: Record) -> str:
    return (header_of(record, X_SOURCE) or b"").decode()

"""The running bridge for a program: ranked suggestions as they come, and clicks back."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from time import time
from typing import Self
from uuid import uuid4

import msgspec

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.live import LiveReader, Publisher
from bridge.core.errors import MalformedError
from bridge.core.records import Kind, NewRecord, Record, digest, identity_of, made_here
from bridge.core.times import to_rfc3339
from bridge.core.topics import Options as TopicOptions
from bridge.core.topics import topics_of
from bridge.core.values import Click, ContextWindow, Subscription, decode, encode

# Readers may drop a list that they saw in the last 30 s; a bound on how many are remembered for that.
_REPEAT_WITHIN_MS = 30_000
_MAX_REMEMBERED = 10_000


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """One suggestion of a ranked list. What Genesys left out is empty or None; `raw` is the whole object as it came."""

    id: str = ""
    title: str = ""
    type: str = ""
    confidence: float | None = None
    relevance_score: float | None = None
    knowledge_article_id: str = ""
    interaction_id: str = ""
    raw: bytes = b""


class RankedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A ranked list: the best suggestion first. `timestamp` is when the bridge received it (RFC 3339, UTC)."""

    interaction_id: str
    timestamp: str
    ranked_suggestions: tuple[Suggestion, ...]
    latency_ms: float


class AgentAssistStream:
    """Ranked suggestions of one interaction, or of all of them, from the moment it is entered.

        async with AgentAssistStream("localhost:9092", interaction_id="…") as stream:
            async for batch in stream:
                await stream.click(batch.ranked_suggestions[0])

    With an `interaction_id` it also writes the subscription that has the bridge ask Genesys for it; `context_window`
    (two RFC 3339 times) and `suggestion_types` are what the bridge's options say where they are left out. Leaving the
    stream does not end the subscription: others may be reading too; `unsubscribe()` does.

    `kafka` takes the options of the section `kafka` where more than the servers and the prefix is needed (TLS, SASL);
    `topics` renamed topics. Waits are bounded by 30 s, except for the next list. Raises UnavailableError where Kafka
    does not answer, StartError where the bridge's topics are not there.
    """

    def __init__(
        self,
        bootstrap_servers: str = "localhost:9092",
        *,
        interaction_id: str | None = None,
        context_window: tuple[str, str] | None = None,
        suggestion_types: Sequence[str] | None = None,
        agent_id: str | None = None,
        prefix: str = "",
        kafka: Options | None = None,
        topics: TopicOptions | None = None,
    ) -> None:
        options = kafka or Options(bootstrap_servers=bootstrap_servers, prefix=prefix)
        clients = Clients(options, client_id="bridge-stream")
        self._topics = topics_of(topics or TopicOptions(), prefix=options.prefix)
        self._interaction_id = interaction_id
        self._context_window = context_window
        self._suggestion_types = suggestion_types
        self._agent_id = agent_id
        key = None if interaction_id is None else interaction_id.encode()
        self._lists = LiveReader(clients, self._topics.ranked_suggestions, key=key)
        self._publisher = Publisher(clients)
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    async def __aenter__(self) -> Self:
        await self._lists.start()
        try:
            await self._publisher.start()
            if self._interaction_id is not None:
                await self._subscribe(self._interaction_id)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[RankedBatch]:
        """Yields lists in the order of their topic, each once, until the stream is closed."""
        while (record := await self._lists.next()) is not None:
            if self._is_new(record) and (batch := _batch(record)) is not None:
                yield batch

    async def click(self, suggestion: Suggestion) -> str:
        """Publishes that an agent took the suggestion; returns the `clickId`. The brokers have it when this returns.

        Taking the same suggestion twice is two clicks. Raises ValueError for a suggestion without an id or an article.
        """
        if not suggestion.id or not suggestion.knowledge_article_id:
            raise ValueError("a click needs the suggestion's id and its knowledgeArticleId")
        click_id, at_ms = str(uuid4()), _now_ms()
        click = Click(
            interaction_id=suggestion.interaction_id,
            suggestion_id=suggestion.id,
            article_id=suggestion.knowledge_article_id,
            clicked_at=to_rfc3339(at_ms),
            click_id=click_id,
            agent_id=self._agent_id,
        )
        await self._publish(
            self._topics.suggestion_clicks, click.interaction_id, encode(click), kind=Kind.CLICKED, ce_id=click_id
        )
        return click_id

    async def unsubscribe(self) -> None:
        """Tells the bridge that the interaction of this stream is over."""
        if self._interaction_id is None:
            raise ValueError("this stream reads all interactions: none of them is its to end")
        await self._publisher.publish(
            NewRecord(topic=self._topics.interaction_subscriptions, key=self._interaction_id.encode(), value=None)
        )

    async def close(self) -> None:
        """Ends the iteration and disconnects."""
        await self._lists.close()
        await self._publisher.close()

    async def _subscribe(self, interaction_id: str) -> None:
        subscription = Subscription(
            interaction_id=interaction_id,
            context_window=ContextWindow(*self._context_window) if self._context_window else None,
            suggestion_types=tuple(self._suggestion_types) if self._suggestion_types else None,
        )
        value = encode(subscription)
        await self._publish(
            self._topics.interaction_subscriptions,
            interaction_id,
            value,
            kind=Kind.SUBSCRIPTION,
            ce_id=digest(value, b"%d" % _now_ms()),
        )

    async def _publish(self, topic: str, interaction_id: str, value: bytes, *, kind: str, ce_id: str) -> None:
        headers = made_here(kind=kind, subject=interaction_id, at_ms=_now_ms(), ce_id=ce_id)
        await self._publisher.publish(NewRecord(topic=topic, key=interaction_id.encode(), value=value, headers=headers))

    def _is_new(self, record: Record) -> bool:
        identity = identity_of(record)
        seen_at_ms = self._seen.pop(identity, None)
        self._seen[identity] = record.timestamp
        if len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return seen_at_ms is None or record.timestamp - seen_at_ms > _REPEAT_WITHIN_MS


class _RankedList(msgspec.Struct, rename="camel"):
    interaction_id: str
    timestamp: str
    ranked_suggestions: list[msgspec.Raw]
    latency_ms: float


_lists = msgspec.json.Decoder(_RankedList)
_objects = msgspec.json.Decoder(dict[str, object])


def _batch(record: Record) -> RankedBatch | None:
    """The list of a record; None for what another writer left on the topic that is none."""
    try:
        ranked = decode(record.value, _lists)
        suggestions = tuple(_suggestion(raw, ranked.interaction_id) for raw in ranked.ranked_suggestions)
    except MalformedError:
        return None
    return RankedBatch(
        interaction_id=ranked.interaction_id,
        timestamp=ranked.timestamp,
        ranked_suggestions=suggestions,
        latency_ms=ranked.latency_ms,
    )


def _suggestion(raw: msgspec.Raw, interaction_id: str) -> Suggestion:
    fields = decode(bytes(raw), _objects)
    return Suggestion(
        id=_text(fields.get("id")),
        title=_text(fields.get("title")),
        type=_text(fields.get("type")),
        confidence=_score(fields.get("confidence")),
        relevance_score=_score(fields.get("relevanceScore")),
        knowledge_article_id=_text(fields.get("knowledgeArticleId")),
        interaction_id=interaction_id,
        raw=bytes(raw),
    )


def _text(field: object) -> str:
    return field if isinstance(field, str) else ""


def _score(field: object) -> float | None:
    return float(field) if isinstance(field, int | float) else None


def _now_ms() -> int:
    return int(time() * 1000)

"""The running bridge for a program: ranked suggestions as they come, and clicks back."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from time import time_ns
from typing import Self
from uuid import uuid4

from bridge.adapters.kafka.clients import Clients, Options, faults_of
from bridge.adapters.kafka.live import LiveReader, Publisher
from bridge.core.batches import RankedBatch, Suggestion, batch_of, click_on, subscription_of
from bridge.core.outcomes import ClickOutcome, OutcomeOfClick
from bridge.core.records import Kind, NewRecord, Record, identity_of, made_here
from bridge.core.subscriptions import subscription_record
from bridge.core.topics import Options as TopicOptions
from bridge.core.topics import topics_of
from bridge.core.values import encode

# Readers may drop a list that they saw in the last 30 s; a bound on how many are remembered for that.
_REPEAT_WITHIN_MS = 30_000
_MAX_REMEMBERED = 10_000


class AgentAssistStream:
    """Ranked suggestions of one interaction, or of all of them, from the moment it is entered.

        async with AgentAssistStream("localhost:9092", interaction_id="…") as stream:
            async for batch in stream:
                await stream.click(batch.ranked_suggestions[0])

    With an `interaction_id` it also writes the subscription that has the bridge ask Genesys for it, unless `subscribe`
    is false: then it only reads what others asked for. `context_window` (start and end, with a time zone) and
    `suggestion_types` are for that subscription; left out, they are what the bridge's options say. Leaving the stream
    does not end the subscription, as others may be reading too; `unsubscribe()` does.

    `bootstrap_servers` and `prefix` are `kafka.bootstrap_servers` and `kafka.prefix` of the bridge. `kafka` takes the
    other options of that section (TLS, SASL), `topics` the names of renamed topics.

    A stream is entered once, and one task at a time iterates over it. A wait for the next list has no deadline of its
    own; it may be cancelled (`async with asyncio.timeout(5): await anext(stream)`) and loses nothing. Every other wait
    is bounded by 30 s. Raises ValueError for arguments that the bridge would not take; when it is entered, StartError
    where the topic of ranked lists does not exist, and UnavailableError where Kafka does not answer.
    """

    def __init__(
        self,
        bootstrap_servers: str | None = None,
        *,
        interaction_id: str | None = None,
        subscribe: bool = True,
        context_window: tuple[datetime, datetime] | None = None,
        suggestion_types: Sequence[str] | None = None,
        prefix: str | None = None,
        kafka: Options | None = None,
        topics: TopicOptions | None = None,
    ) -> None:
        options = _options(kafka or Options(), bootstrap_servers=bootstrap_servers, prefix=prefix)
        self._clients = Clients(options, client_id="bridge-stream")
        self._topics = topics_of(topics or TopicOptions(), prefix=options.prefix)
        self._interaction_id = interaction_id
        self._subscription: bytes | None = None
        if interaction_id is not None and subscribe:
            wish = subscription_of(interaction_id, context_window=context_window, suggestion_types=suggestion_types)
            self._subscription = encode(wish)
        elif context_window is not None or suggestion_types is not None:
            raise ValueError("context_window and suggestion_types are for a subscription, and this stream writes none")
        key = None if interaction_id is None else interaction_id.encode()
        self._lists = LiveReader(self._clients, self._topics.ranked_suggestions, key=key)
        self._publisher = Publisher(self._clients)
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    async def __aenter__(self) -> Self:
        # The position first: no list that comes of the subscription can be missed.
        await self._lists.start()
        try:
            await self._publisher.start()
            if self._subscription is not None:
                await self._write_subscription(self._subscription)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RankedBatch:
        """The next list, in the order of the topic, each once; the iteration ends when the stream is closed.

        A broker that is away is waited for. Raises UnavailableError where Kafka refuses to be read.
        """
        while (record := await self._lists.next()) is not None:
            if self._is_new(record) and (batch := batch_of(record)) is not None:
                return batch
        raise StopAsyncIteration

    async def click(self, suggestion: Suggestion, *, agent_id: str | None = None, click_id: str | None = None) -> str:
        """Publishes that an agent took the suggestion; returns the `clickId`. The brokers have it when this returns.

        Taking a suggestion twice is two clicks, under two ids. A click counts once under its id: where UnavailableError
        leaves open whether it was written, give a `click_id` of your own (a UUID) and click again under the same one.
        Raises ValueError for a suggestion without an id or an article, and for ids of more than 256 characters.
        """
        taken_as = str(uuid4()) if click_id is None else click_id
        at_ms = _now_ms()
        click = click_on(suggestion, click_id=taken_as, agent_id=agent_id, at_ms=at_ms)
        headers = made_here(kind=Kind.CLICKED, subject=click.interaction_id, at_ms=at_ms, ce_id=taken_as)
        topic, key = self._topics.suggestion_clicks, click.interaction_id.encode()
        await self._publisher.publish(NewRecord(topic=topic, key=key, value=encode(click), headers=headers))
        return taken_as

    async def click_until_exported(
        self,
        suggestion: Suggestion,
        *,
        agent_id: str | None = None,
        click_id: str | None = None,
        within_s: float = 60.0,
    ) -> ClickOutcome:
        """Clicks, and waits until the audit tells what became of it: counted, and taken by the KMP or refused.

        Raises TimeoutError where that is not known `within_s` seconds after the click: a KMP that is down is waited
        for, and the bridge goes on by itself. Else as `click`.
        """
        # The position first: nothing that comes of the click can be missed.
        audit = LiveReader(self._clients, self._topics.suggestion_audit, key=suggestion.interaction_id.encode())
        await audit.start()
        try:
            taken_as = await self.click(suggestion, agent_id=agent_id, click_id=click_id)
            async with asyncio.timeout(within_s):
                return await _outcome(audit, OutcomeOfClick(suggestion.interaction_id, taken_as))
        except TimeoutError as error:
            raise TimeoutError(f"what became of the click is not known after {within_s:g} s") from error
        finally:
            await audit.close()

    async def unsubscribe(self) -> None:
        """Tells the bridge that the interaction of this stream is over, for all its readers.

        Raises ValueError for a stream of all interactions, UnavailableError if the brokers do not take it in time.
        """
        if self._interaction_id is None:
            raise ValueError("this stream reads all interactions: none of them is its to end")
        await self._write_subscription(None)

    async def close(self) -> None:
        """Ends the iteration, in whatever task it waits, and disconnects."""
        try:
            await self._lists.close()
        finally:
            await self._publisher.close()

    async def _write_subscription(self, value: bytes | None) -> None:
        topic = self._topics.interaction_subscriptions
        record = subscription_record(topic, self._interaction_id or "", value=value, at_ms=_now_ms())
        await self._publisher.publish(record)

    def _is_new(self, record: Record) -> bool:
        identity = identity_of(record)
        seen_at_ms = self._seen.pop(identity, None)
        self._seen[identity] = record.timestamp
        if len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return seen_at_ms is None or record.timestamp - seen_at_ms > _REPEAT_WITHIN_MS


async def _outcome(audit: LiveReader, click: OutcomeOfClick) -> ClickOutcome:
    while (record := await audit.next()) is not None:
        if (outcome := click.take(record)) is not None:
            return outcome
    raise AssertionError("the reader of the audit is closed by nobody else")


def _options(kafka: Options, *, bootstrap_servers: str | None, prefix: str | None) -> Options:
    options = replace(
        kafka,
        bootstrap_servers=kafka.bootstrap_servers if bootstrap_servers is None else bootstrap_servers,
        prefix=kafka.prefix if prefix is None else prefix,
    )
    faults = list(faults_of(options))
    if faults:
        raise ValueError("; ".join(faults))
    return options


def _now_ms() -> int:
    return time_ns() // 1_000_000

"""`bridge subscribe` and `bridge unsubscribe`: write interaction-subscriptions."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import Json, print_json, settings_of, work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.records import NewRecord, Record
    from bridge.settings import Settings

Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of interactions.")]


def subscribe(
    context: typer.Context,
    ids: Ids,
    expires_at: Annotated[
        str | None,
        typer.Option("--expires-at", metavar="TIME", help="When it is over (RFC 3339), else by the options."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Wants suggestions for these interactions, from now on."""
    settings = settings_of(context)
    at_ms = time.time_ns() // 1_000_000
    records = [_subscription(settings, one, expires_at=expires_at, at_ms=at_ms) for one in ids]
    _tell("subscribed", ids, work(settings, _write(settings, records)), as_json=as_json)


def unsubscribe(context: typer.Context, ids: Ids, as_json: Json = False) -> None:
    """Wants suggestions for these interactions no longer."""
    settings = settings_of(context)
    at_ms = time.time_ns() // 1_000_000
    records = [_null(settings, one, at_ms=at_ms) for one in ids]
    _tell("unsubscribed", ids, work(settings, _write(settings, records)), as_json=as_json)


def _subscription(settings: "Settings", interaction_id: str, *, expires_at: str | None, at_ms: int) -> "NewRecord":
    from msgspec.structs import replace

    from bridge.core.times import from_rfc3339
    from bridge.core.values import Subscription, encode

    if expires_at is not None:
        try:
            from_rfc3339(expires_at)
        except ValueError:
            raise typer.BadParameter("must be a time like 2026-01-05T10:00:00Z", param_hint="--expires-at") from None
    value = encode(Subscription(interaction_id=interaction_id, expires_at=expires_at))
    return replace(_null(settings, interaction_id, at_ms=at_ms), value=value)


def _null(settings: "Settings", interaction_id: str, *, at_ms: int) -> "NewRecord":
    from bridge.core.records import Kind, NewRecord, digest, made_here
    from bridge.core.topics import topics_of
    from bridge.core.values import MAX_ID_CHARACTERS

    if not 1 <= len(interaction_id) <= MAX_ID_CHARACTERS:
        raise typer.BadParameter(f"must have 1 to {MAX_ID_CHARACTERS} characters", param_hint="ID")
    key = interaction_id.encode()
    ce_id = digest(Kind.SUBSCRIPTION.encode(), key, b"%d" % at_ms)
    return NewRecord(
        topic=topics_of(settings.topics, prefix=settings.kafka.prefix).interaction_subscriptions,
        key=key,
        value=None,
        headers=made_here(kind=Kind.SUBSCRIPTION, subject=interaction_id, at_ms=at_ms, ce_id=ce_id),
    )


async def _write(settings: "Settings", records: "Sequence[NewRecord]") -> "list[Record]":
    from bridge.adapters.kafka.clients import Clients
    from bridge.adapters.kafka.live import Publisher
    from bridge.adapters.kafka.topics import partitions_of

    clients = Clients(settings.kafka)
    await partitions_of(clients, records[0].topic)  # Writing would wait long for a topic that does not exist.
    publisher = await Publisher(clients).start()
    try:
        return [await publisher.publish(record) for record in records]
    finally:
        await publisher.close()


def _tell(done: str, ids: "Sequence[str]", written: "Sequence[Record]", *, as_json: bool) -> None:
    if as_json:
        places = [
            {"interactionId": one, "topic": at.topic, "partition": at.partition, "offset": at.offset}
            for one, at in zip(ids, written, strict=True)
        ]
        print_json({done: places})
        return
    for one, at in zip(ids, written, strict=True):
        print(f"{done} {one} ({at.topic}/{at.partition}/{at.offset})")

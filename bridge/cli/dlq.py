"""`bridge dlq`: looks at dead letters, and sends them back to where they came from."""

import time
from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import EXIT_FAILED, Json, end, print_json, settings_of, work
from bridge.cli.tail import full_name, full_place, json_line_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.adapters.kafka.replay import Order, Outcome
    from bridge.core.letter_groups import LetterGroup
    from bridge.core.letters import Place, Selection
    from bridge.core.records import Record
    from bridge.core.topics import Topics
    from bridge.settings import Settings

app = typer.Typer(help="Dead letters: what could not be used, and why.", no_args_is_help=True)

_ONE_TOPIC = "Only this dead-letter topic, else all; as TOPIC or with --topic."
Topic = Annotated[str | None, typer.Argument(metavar="TOPIC", help=_ONE_TOPIC)]
TopicOption = Annotated[str | None, typer.Option("--topic", metavar="TOPIC", help=_ONE_TOPIC)]
Class = Annotated[str | None, typer.Option("--class", metavar="CLASS", help="Only of this class, as `list` shows it.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only those set aside since then: a time (RFC 3339), or 90s, 2h, 7d."),
]
Interaction = Annotated[str | None, typer.Option("--interaction", metavar="ID", help="Only those with this key.")]


@app.callback()
def dlq() -> None:
    """Dead letters: what could not be used, and why."""


@app.command("list")
def list_letters(
    context: typer.Context,
    topic: Topic = None,
    *,
    topic_option: TopicOption = None,
    dlq_class: Class = None,
    since: Since = None,
    interaction: Interaction = None,
    as_json: Json = False,
) -> None:
    """Shows dead letters by topic, class and reason: how many, how many were replayed, the first and the last."""
    settings = settings_of(context)
    selection = _selection(dlq_class, since, interaction)
    groups = work(settings, _groups(settings, _one_or_all(settings, topic, topic_option), selection))
    if as_json:
        print_json({"deadLetters": [_as_json(group) for group in groups]})
    elif groups:
        _print_table(groups)
    else:
        print("no dead letters")


@app.command()
def show(
    context: typer.Context,
    place: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION/OFFSET", help="Where the dead letter stands.")],
    as_json: Json = False,
) -> None:
    """Shows one dead letter, with a mark at what failed. Exit 1 where none stands there."""
    from bridge.core.letter_view import view_of
    from bridge.core.letters import letter_of

    settings = settings_of(context)
    at = _place(settings, place)
    record = work(settings, _find(settings, at))
    if record is None:
        end(f"{at}: no record stands there, or not any more", code=EXIT_FAILED)
    if as_json:
        print(json_line_of(record).decode(), end="")
    else:
        print("\n".join(view_of(letter_of(record))))


@app.command()
def replay(
    context: typer.Context,
    topic: Topic = None,
    *,
    topic_option: TopicOption = None,
    dlq_class: Class = None,
    since: Since = None,
    interaction: Interaction = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", min=0.001, help="At most N letters a second.")
    ] = None,
    max_replays: Annotated[
        int, typer.Option("--max-replays", metavar="N", min=1, help="Leave what has been replayed N times.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """Sends dead letters back to where they came from, each once, however often this is interrupted or run again.

    What is not selected, or cannot be sent, stays and can be replayed later.
    """
    from bridge.adapters.kafka.replay import Order

    if rate is not None and not isfinite(rate):
        raise typer.BadParameter("must be a number of letters", param_hint="--rate")
    settings = settings_of(context)
    order = Order(
        topics=_one_or_all(settings, topic, topic_option),
        selection=_selection(dlq_class, since, interaction),
        max_replays=max_replays,
        letters_per_s=rate,
        is_dry_run=dry_run,
    )
    outcome = work(settings, _replay(settings, order))
    if as_json:
        print_json(_outcome_as_json(outcome, dry_run=dry_run))
    else:
        _print_outcome(outcome, dry_run=dry_run)


# -- what is meant -----------------------------------------------------------------------------------------------------


def _topics(settings: "Settings") -> "Topics":
    from bridge.core.topics import topics_of

    return topics_of(settings.topics, prefix=settings.kafka.prefix)


def _one_or_all(settings: "Settings", argument: str | None, option: str | None) -> list[str]:
    """The dead-letter topic that is named, once or twice, else all of them."""
    named = {
        _letter_topic(settings, name, hint=hint)
        for name, hint in ((argument, "TOPIC"), (option, "--topic"))
        if name is not None
    }
    if len(named) > 1:
        raise typer.BadParameter("names another topic than TOPIC does: give one of them", param_hint="--topic")
    return list(named) or _letter_topics(settings)


def _letter_topic(settings: "Settings", topic: str, *, hint: str) -> str:
    name, every = full_name(settings, topic), _letter_topics(settings)
    if name not in every:
        raise typer.BadParameter(f"must be one of {', '.join(every)}", param_hint=hint)
    return name


def _letter_topics(settings: "Settings") -> list[str]:
    topics = _topics(settings)
    return [topics.dlq_ingress, topics.dlq_ranker, topics.dlq_clicks, topics.dlq_exports]


def _selection(dlq_class: str | None, since: str | None, interaction: str | None) -> "Selection":
    from bridge.core.dead_letters import CLASSES
    from bridge.core.letters import UNKNOWN, Selection, moment_of

    if dlq_class not in {None, UNKNOWN, *CLASSES}:
        raise typer.BadParameter(f"must be one of {', '.join(CLASSES)}, {UNKNOWN}", param_hint="--class")
    try:
        since_ms = None if since is None else moment_of(since, now_ms=_now_ms())
    except ValueError:
        raise typer.BadParameter("must be like 2026-01-05T10:00:00Z, 90s, 2h or 7d", param_hint="--since") from None
    return Selection(dlq_class=dlq_class, since_ms=since_ms, interaction_id=interaction)


def _place(settings: "Settings", spelled: str) -> "Place":
    hint = "TOPIC/PARTITION/OFFSET"
    place = full_place(settings, spelled, hint=hint)
    name, partitions = _letter_topic(settings, place.topic, hint=hint), _topics(settings).partitions
    if place.partition >= partitions:
        raise typer.BadParameter(f"{name} has {partitions} partitions", param_hint=hint)
    return place


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# -- work --------------------------------------------------------------------------------------------------------------


async def _groups(settings: "Settings", topics: "Sequence[str]", selection: "Selection") -> "list[LetterGroup]":
    from contextlib import aclosing

    from bridge.adapters.kafka.clients import Clients
    from bridge.adapters.kafka.reader import read
    from bridge.core.letter_groups import LetterGroups

    groups = LetterGroups(selection)
    for topic in topics:
        async with aclosing(read(Clients(settings.kafka), topic, from_start=True, until_end=True)) as records:
            async for record in records:
                groups.take(record)
    return groups.groups()


async def _find(settings: "Settings", place: "Place") -> "Record | None":
    from bridge.adapters.kafka.clients import Clients
    from bridge.adapters.kafka.spans import find

    return await find(Clients(settings.kafka), place)


async def _replay(settings: "Settings", order: "Order") -> "Outcome":
    from bridge.adapters.kafka import topics as kafka_topics
    from bridge.adapters.kafka.clients import Clients
    from bridge.adapters.kafka.replay import Replay
    from bridge.core.errors import WrongSetupError

    clients, topics = Clients(settings.kafka), _topics(settings)
    problems = await kafka_topics.check(clients, topics)
    if problems:
        raise WrongSetupError("; ".join(problems), remedy=kafka_topics.remedy_of(problems))
    replaying = Replay(clients, topics, max_frame_bytes=settings.ingress.max_frame_bytes, clock=_now_ms)
    return await replaying.run(order)


# -- answers -----------------------------------------------------------------------------------------------------------


def _as_json(group: "LetterGroup") -> dict[str, object]:
    from bridge.core.letter_view import printable
    from bridge.core.times import to_rfc3339

    return {
        "topic": group.topic,
        "class": printable(group.dlq_class),
        "reason": printable(group.reason),
        "count": group.count,
        "replayed": group.replayed,
        "firstAt": to_rfc3339(group.first_ms),
        "lastAt": to_rfc3339(group.last_ms),
    }


def _print_table(groups: "Sequence[LetterGroup]") -> None:
    rows = [("TOPIC", "CLASS", "COUNT", "REPLAYED", "FIRST", "LAST", "REASON")]
    for group in groups:
        told = _as_json(group)
        rows.append(tuple(str(told[name]) for name in _COLUMNS))  # type: ignore[arg-type] # seven, as above
    widths = [max(len(row[at]) for row in rows) for at in range(len(_COLUMNS))]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


_COLUMNS = ("topic", "class", "count", "replayed", "firstAt", "lastAt", "reason")


def _outcome_as_json(outcome: "Outcome", *, dry_run: bool) -> dict[str, object]:
    return {
        "dryRun": dry_run,
        "sent": [
            {"from": topic, "class": dlq_class, "to": to, "letters": letters}
            for (topic, dlq_class, to), letters in sorted(outcome.sent.items())
        ],
        "left": [
            {"from": topic, "reason": reason, "letters": letters}
            for (topic, reason), letters in sorted(outcome.left.items())
        ],
        "sentBefore": outcome.sent_before.total(),
    }


def _print_outcome(outcome: "Outcome", *, dry_run: bool) -> None:
    verb = "would be sent" if dry_run else "sent"
    for (topic, dlq_class, to), letters in sorted(outcome.sent.items()):
        print(f"{verb:13}  {letters:6}  {topic} -> {to} ({dlq_class})")
    for (topic, reason), letters in sorted(outcome.left.items()):
        print(f"{'left':13}  {letters:6}  {topic}: {reason}")
    if before := outcome.sent_before.total():
        print(f"{'sent before':13}  {before:6}")
    if not (outcome.sent or outcome.left):
        print("nothing to send")

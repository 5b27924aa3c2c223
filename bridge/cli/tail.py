"""`bridge tail`: prints the records of a topic as JSON lines."""

import os
import sys
from base64 import b64encode
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import settings_of, work

if TYPE_CHECKING:
    from bridge.core.letters import Place
    from bridge.core.records import Record
    from bridge.settings import Settings


def tail(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="A topic, by its default name or by its name on the cluster.")],
    interaction: Annotated[str | None, typer.Option("--interaction", metavar="ID", help="Only of this one.")] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin at the first record.")] = False,
    count: Annotated[int | None, typer.Option("--count", metavar="N", min=1, help="End after N records.")] = None,
) -> None:
    """Prints records as JSON lines: topic, partition, offset, timestamp, key, value, headers.

    A value that is JSON stands there as it is, any other one as Base64. It goes on until Ctrl-C.
    """
    settings = settings_of(context)
    name = full_name(settings, topic)
    try:
        work(settings, _print(settings, name, interaction=interaction, from_start=from_start, count=count))
    except BrokenPipeError:
        # Whoever read this has seen enough. What is still buffered goes nowhere, and not into an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass


def full_place(settings: "Settings", spelled: str, *, hint: str) -> "Place":
    """The place TOPIC/PARTITION/OFFSET, with the topic's name on the cluster; typer.BadParameter for anything else."""
    from dataclasses import replace

    from bridge.core.letters import place_of

    try:
        place = place_of(spelled)
    except ValueError as error:
        raise typer.BadParameter(f"{error}: {spelled}", param_hint=hint) from None
    return replace(place, topic=full_name(settings, place.topic))


def full_name(settings: "Settings", topic: str) -> str:
    """The topic's name on the cluster, also for its default name, or its name without the prefix."""
    from bridge.core.topics import Options, topics_of

    prefix = settings.kafka.prefix
    full = topics_of(settings.topics, prefix=prefix)
    by_default = topics_of(Options())
    for default, name in zip(by_default.names(), full.names(), strict=True):
        if topic in {default, name, name.removeprefix(prefix)}:
            return name
    return topic


async def _print(
    settings: "Settings", topic: str, *, interaction: str | None, from_start: bool, count: int | None
) -> None:
    from bridge.adapters.kafka.clients import Clients
    from bridge.adapters.kafka.reader import read

    key = None if interaction is None else interaction.encode()
    left = count
    async with aclosing(read(Clients(settings.kafka), topic, from_start=from_start, until_end=False)) as records:
        async for record in records:
            if key is not None and record.key != key:
                continue
            sys.stdout.buffer.write(json_line_of(record))
            sys.stdout.buffer.flush()
            left = None if left is None else left - 1
            if left == 0:
                return


def json_line_of(record: "Record") -> bytes:
    """A record as one line of JSON; of a header that stands there more than once, the last one."""
    import orjson

    return orjson.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": _text(record.key),
            "value": _value(record.value),
            "headers": {name: _text(value) for name, value in record.headers},
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _value(value: bytes | None) -> object:
    import msgspec
    import orjson

    if value is None:
        return None
    try:
        value.decode()
        # On one line, and otherwise as it is: numbers keep their digits.
        return orjson.Fragment(msgspec.json.format(value, indent=-1))
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return b64encode(value).decode()


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return b64encode(value).decode()

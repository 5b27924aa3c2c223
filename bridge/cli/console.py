"""What the commands share: options from the line, work in a loop, answers to people and programs, errors as lines."""

import asyncio
import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from bridge.core.errors import UnavailableError
    from bridge.settings import Settings

EXIT_FAILED = 1
EXIT_WRONG_SETUP = 78  # EX_CONFIG of sysexits.h

_T = TypeVar("_T")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on standard output.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What stands on the command line before the command."""

    config: Path | None
    overrides: tuple[str, ...]


def line_of(context: typer.Context) -> Line:
    """What stands before the command."""
    return context.find_object(Line) or Line(config=None, overrides=())


def settings_of(context: typer.Context, *, workers: Sequence[str] = ()) -> "Settings":
    """The settings of this call; ends it with exit code 78 where they, or those that the workers need, have faults."""
    from bridge.settings import SettingsError, load, required_for

    line = line_of(context)
    try:
        settings = load(line.config, overrides=line.overrides)
    except SettingsError as error:
        end(*error.faults, code=EXIT_WRONG_SETUP)
    faults = required_for(settings, workers)
    if faults:
        end(*faults, code=EXIT_WRONG_SETUP)
    return settings


def work(settings: "Settings", task: Coroutine[Any, Any, _T]) -> _T:
    """What the task returns; ends the command where it cannot. Libraries log nothing."""
    from bridge.telemetry import SILENT, start_logging

    start_logging(level=settings.log.level, form=settings.log.format, foreign_level=SILENT)
    with plainly(settings):
        return asyncio.run(task)


@contextmanager
def plainly(settings: "Settings") -> Iterator[None]:
    """What an operator can mend ends the command with one line, never with a traceback."""
    from bridge.core.errors import StartError, UnavailableError, WrongSetupError

    try:
        yield
    except WrongSetupError as error:
        end(str(error), code=EXIT_WRONG_SETUP)
    except StartError as error:
        end(str(error), code=EXIT_FAILED)
    except UnavailableError as error:
        end(unavailable(error, settings), code=EXIT_FAILED)


def unavailable(error: "UnavailableError", settings: "Settings") -> str:
    """One line that says which part does not answer, where it was looked for, and what to look at."""
    if error.what != "Kafka":
        return f"{error.what}: {error.reason}"
    return (
        f"Kafka at {settings.kafka.bootstrap_servers}: {error.reason}; "
        "check that it runs, kafka.bootstrap_servers, kafka.security_protocol, "
        "and the kafka.sasl_… and kafka.ssl_… that go with it"
    )


def end(*lines: str, code: int) -> NoReturn:
    """Ends the command with these lines on standard error."""
    for line in lines:
        print(line, file=sys.stderr)
    raise typer.Exit(code)


def print_json(answer: Mapping[str, object]) -> None:
    """Prints one JSON object."""
    import orjson

    print(orjson.dumps(answer).decode())

"""An event becomes one structlog line and its metrics.

`python -m bridge.telemetry` prints docs/events.md, the tables of all events and metrics, made from the classes.
"""

import importlib
import logging
import pkgutil
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, TextIO

import orjson
import prometheus_client
import structlog
from prometheus_client import CollectorRegistry
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from bridge.core import events
from bridge.core.events.kinds import Counter, Event, Gauge, Histogram, Metric

_LEVELS: dict[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
SILENT = logging.CRITICAL + 1

_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CREDENTIALS = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+")

_Move = Callable[[Event], None]


class Telemetry:
    """Tells events: `emit` is what workers and adapters are given. `workers` are those of this process."""

    def __init__(
        self, registry: CollectorRegistry, logger: FilteringBoundLogger, *, workers: Collection[str] = ()
    ) -> None:
        self._registry = registry
        self._logger = logger
        self._collectors: dict[str, Any] = {}
        self._moves: dict[type[Event], tuple[_Move, ...]] = {}
        # Counters begin at 0, so that the first time that something happens is a rise and not a new series; of those
        # with labels it is one, because nobody knows the labels before. Gauges of which that is true begin so, too,
        # that they can be told from those of a process that has no such worker.
        for kind in all_events():
            for metric in kind.metrics:
                if isinstance(metric, Counter) or (isinstance(metric, Gauge) and metric.zero_in in workers):
                    self._collector(metric)

    def emit(self, event: Event) -> None:
        """Writes one log line, unless the event is below the logger's level, and moves the event's metrics."""
        kind = type(event)
        moves = self._moves.get(kind)
        if moves is None:
            moves = self._moves[kind] = tuple(self._moves_of(kind))
        for move in moves:
            move(event)

    def _moves_of(self, kind: type[Event]) -> Iterator[_Move]:
        level = _LEVELS[kind.level]
        if self._logger.is_enabled_for(level):
            yield _log_line(kind, self._logger, level)
        for metric in kind.metrics:
            yield _movement(metric, self._collector(metric))

    def _collector(self, metric: Metric) -> Any:
        # Events share a metric by its name: ValveClosed sets the gauge that ValveOpened resets.
        if metric.name not in self._collectors:
            self._collectors[metric.name] = _collector_of(metric, self._registry)
        return self._collectors[metric.name]


def name_of(kind: type[Event]) -> str:
    """The name of an event in the log: `ValveClosed` -> `valve_closed`."""
    return _WORD_BORDER.sub("_", kind.__name__).lower()


def _log_line(kind: type[Event], logger: FilteringBoundLogger, level: int) -> _Move:
    name, field_names = name_of(kind), [(_shown(field.name), field.name) for field in fields(kind)]
    return lambda event: logger.log(level, name, **{shown: getattr(event, field) for shown, field in field_names})


def _collector_of(metric: Metric, registry: CollectorRegistry) -> Any:
    labels = _labels(metric)
    match metric:
        case Counter():
            return prometheus_client.Counter(metric.name, metric.help, labels, registry=registry)
        case Gauge():
            return prometheus_client.Gauge(metric.name, metric.help, labels, registry=registry)
        case Histogram():
            return prometheus_client.Histogram(
                metric.name, metric.help, labels, registry=registry, buckets=metric.buckets
            )


def _labels(metric: Metric) -> list[str]:
    """The names of a metric's labels as Prometheus shows them."""
    return [_shown(label) for label in metric.labels]


def _shown(field: str) -> str:
    """The name of a field for everybody outside: `class_` is `class`."""
    return field.rstrip("_")


def _movement(metric: Metric, collector: Any) -> _Move:
    def child(event: Event) -> Any:
        return collector.labels(*(getattr(event, label) for label in metric.labels)) if metric.labels else collector

    match metric:
        case Counter(by=str(field)):
            return lambda event: child(event).inc(getattr(event, field))
        case Counter():
            return lambda event: child(event).inc()
        case Gauge(value=str(field)):
            return lambda event: child(event).set(_number(getattr(event, field)))
        case Gauge():
            return lambda event: child(event).set(metric.fixed)
        case Histogram(value=field):
            return lambda event: child(event).observe(getattr(event, field))


def _number(value: float | None) -> float:
    # What nobody knows is not 0: Prometheus has NaN for it.
    return float("nan") if value is None else value


def start_logging(
    *,
    level: str,
    form: str,
    foreign_level: int = logging.WARNING,
    secrets: Sequence[str] = (),
    stream: TextIO | None = None,
) -> FilteringBoundLogger:
    """Sets up all logging to `stream` (standard error) and returns the logger for `Telemetry`.

    `form` is `json`, `text`, or `auto`: text on a terminal, else JSON lines. Libraries log from `foreign_level` on, in
    the same form, with `secrets` and authorization headers masked.
    """
    stream = stream or sys.stderr
    is_text = form == "text" or (form == "auto" and stream.isatty())
    render = _text_renderer(colors=stream.isatty()) if is_text else _json_renderer
    common: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _Masking(secrets),
            render,
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(_is_worth_a_line)
    logging.basicConfig(level=foreign_level, handlers=[handler], force=True)
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[*common, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
    )
    return logger


# What aiokafka warns of though it is a normal step, and retried: the broker still writes the former transaction's
# markers (KIP-890); a broker or coordinator that moves or starts. What comes of it is told by our own events.
_EVERYDAY = re.compile(
    r"NotEnoughReplicasError|CoordinatorNotAvailableError|NotCoordinatorForGroupError|NotLeaderFor"
    r"|NodeNotReadyError|KafkaConnectionError|Unable to update metadata|Marking the coordinator dead"
    # A refused login or certificate is no passing thing, and stands only here.
    r"|Unable connect to(?!.*(?:[Aa]uthenticat|[Cc]ertificate|SSL))"
)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    # A producer that ends by such an error tells it as unexpected, with a traceback.
    told = repr(record.exc_info[1]) if record.exc_info else record.getMessage()
    return not (record.name.startswith("aiokafka") and _EVERYDAY.search(told))


def _text_renderer(*, colors: bool) -> Processor:
    # The default formatter of exceptions prints local variables, secrets among them.
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


def _json_renderer(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    return orjson.dumps(line, default=str).decode()


class _Masking:
    """A processor that hides secrets in the lines of libraries, which know nothing of our rules."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        return {name: self._masked(value) if isinstance(value, str) else value for name, value in line.items()}

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _CREDENTIALS.sub(r"\1 ***", text)


def all_events() -> list[type[Event]]:
    """Every event class of `bridge.core.events`, in the order of modules and of their lines."""
    names = sorted(f"{events.__name__}.{module.name}" for module in pkgutil.iter_modules(events.__path__))
    return [
        value
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type) and issubclass(value, Event) and value.__module__ == name and value is not Event
    ]


def events_page() -> str:
    """docs/events.md: the tables of events and metrics, in Markdown."""
    kinds = all_events()
    event_rows = [
        f"| `{name_of(kind)}` | {kind.level} | {_listed(_fields(kind))} | {_sentence(kind)} |" for kind in kinds
    ]
    metric_rows = [f"| `{name}` | {about} |" for name, about in sorted(_metrics(kinds).items())]
    return "\n".join(
        [
            "# Events and metrics",
            "",
            "Made by `python -m bridge.telemetry` from the classes in `bridge/core/events/`. Each event is one log",
            "line with these fields beside `timestamp`, `level` and its name, `event`.",
            "",
            "| event | level | fields | told when |",
            "|---|---|---|---|",
            *event_rows,
            "",
            "| metric | kind | labels | is | moved by |",
            "|---|---|---|---|---|",
            *metric_rows,
            "",
        ]
    )


def _fields(kind: type[Event]) -> Iterator[str]:
    return (_shown(field.name) for field in fields(kind))


def _metrics(kinds: Iterable[type[Event]]) -> dict[str, str]:
    """The rest of a metric's row, by its name as Prometheus shows it."""
    moved_by: dict[str, list[str]] = {}
    about: dict[str, str] = {}
    for kind in kinds:
        for metric in kind.metrics:
            name = f"{metric.name}_total" if isinstance(metric, Counter) else metric.name
            moved_by.setdefault(name, []).append(name_of(kind))
            about[name] = f"{type(metric).__name__.lower()} | {_listed(_labels(metric))} | {metric.help}"
    return {name: f"{text} | {_listed(moved_by[name])}" for name, text in about.items()}


def _listed(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def _sentence(kind: type[Event]) -> str:
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


if __name__ == "__main__":
    sys.stdout.write(events_page())

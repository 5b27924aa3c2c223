"""Events become log lines and metrics."""

import io
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import orjson
import pytest
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from bridge.app import WORKERS
from bridge.core.events.dead_letters import DeadLettersWritten
from bridge.core.events.kinds import Counter, Event, Gauge, Histogram, Level, Metric
from bridge.telemetry import SILENT, Telemetry, all_events, events_page, name_of, start_logging

_PAGE = Path(__file__).parent.parent / "docs" / "events.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorClosed(Event):
    """The door is closed."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Gauge("bridge_door_closed", "1 while the door is closed", fixed=1),
        Counter("bridge_door_moves", "moves of the door", labels=("cause",)),
        Counter("bridge_door_guests", "guests who had to wait", by="guests"),
        Histogram("bridge_door_seconds", "time to close", value="took_s"),
    )

    cause: str
    guests: int
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorOpened(Event):
    """The door is open."""

    metrics: ClassVar = (
        Gauge("bridge_door_closed", "1 while the door is closed", fixed=0),
        Counter("bridge_door_moves", "moves of the door", labels=("cause",)),
    )

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomMeasured(Event):
    """How many are inside."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (Gauge("bridge_room_guests", "guests inside", value="guests"),)

    guests: int | None


@pytest.fixture(autouse=True)
def root_logging() -> Iterator[None]:
    """Puts back what `start_logging` changes for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _telemetry(stream: io.StringIO, *, level: str = "info") -> tuple[Telemetry, CollectorRegistry]:
    registry = CollectorRegistry()
    return Telemetry(registry, _logger(stream, level=level)), registry


def _logger(
    stream: io.StringIO,
    *,
    level: str = "info",
    form: str = "json",
    foreign_level: int = logging.WARNING,
    secrets: tuple[str, ...] = (),
) -> FilteringBoundLogger:
    return start_logging(level=level, form=form, foreign_level=foreign_level, secrets=secrets, stream=stream)


def test_an_event_is_one_json_line_with_its_fields() -> None:
    stream = io.StringIO()
    telemetry, _ = _telemetry(stream)
    telemetry.emit(DoorClosed(cause="storm", guests=3, took_s=0.5))
    line = orjson.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "door_closed", "level": "warning", "cause": "storm", "guests": 3, "took_s": 0.5}


def test_an_event_moves_its_metrics() -> None:
    telemetry, registry = _telemetry(io.StringIO())
    telemetry.emit(DoorClosed(cause="storm", guests=3, took_s=0.5))
    telemetry.emit(DoorClosed(cause="storm", guests=4, took_s=0.25))
    assert registry.get_sample_value("bridge_door_closed") == 1
    assert registry.get_sample_value("bridge_door_moves_total", {"cause": "storm"}) == 2
    assert registry.get_sample_value("bridge_door_guests_total") == 7
    assert registry.get_sample_value("bridge_door_seconds_sum") == 0.75


def test_two_events_share_a_metric_by_its_name() -> None:
    telemetry, registry = _telemetry(io.StringIO())
    telemetry.emit(DoorClosed(cause="storm", guests=0, took_s=0))
    telemetry.emit(DoorOpened(cause="sun"))
    assert registry.get_sample_value("bridge_door_closed") == 0
    assert registry.get_sample_value("bridge_door_moves_total", {"cause": "sun"}) == 1


def test_a_field_that_is_a_word_of_the_language_is_told_without_its_underscore() -> None:
    stream = io.StringIO()
    telemetry, registry = _telemetry(stream)
    telemetry.emit(DeadLettersWritten(topic="dlq.clicks", class_="schema", letters=2))
    assert orjson.loads(stream.getvalue())["class"] == "schema"
    assert registry.get_sample_value("bridge_dead_letters_total", {"topic": "dlq.clicks", "class": "schema"}) == 2


def test_a_value_that_nobody_knows_is_not_zero() -> None:
    telemetry, registry = _telemetry(io.StringIO())
    telemetry.emit(RoomMeasured(guests=4))
    assert registry.get_sample_value("bridge_room_guests") == 4
    telemetry.emit(RoomMeasured(guests=None))
    assert math.isnan(registry.get_sample_value("bridge_room_guests") or 0)


def test_a_worker_s_gauges_are_zero_from_the_start_where_that_is_true() -> None:
    """A process without that worker has none; what nobody knows yet is not there either."""
    registry = CollectorRegistry()
    Telemetry(registry, _logger(io.StringIO()), workers=["ingress", "ranker"])
    names = ("valve_closed", "ingress_paused", "ingress_stalled", "ingress_subscriptions", "genesys_sockets")
    assert [registry.get_sample_value(f"bridge_{name}") for name in names] == [0] * len(names)
    assert [registry.get_sample_value(f"bridge_{name}") for name in ("kmp_down", "valve_lag_records")] == [None, None]


def test_a_gauge_that_begins_at_zero_has_no_labels_and_names_a_worker() -> None:
    gauges = [metric for kind in all_events() for metric in kind.metrics if isinstance(metric, Gauge)]
    beginning = [gauge for gauge in gauges if gauge.zero_in is not None]
    assert {gauge.zero_in for gauge in beginning} == {"ingress", "exporter"} <= {*WORKERS}
    assert {gauge.labels for gauge in beginning} == {()}


def test_an_event_below_the_level_moves_metrics_only() -> None:
    stream = io.StringIO()
    telemetry, registry = _telemetry(stream)
    telemetry.emit(RoomMeasured(guests=4))
    assert stream.getvalue() == ""
    assert registry.get_sample_value("bridge_room_guests") == 4


def test_an_event_at_the_level_is_logged() -> None:
    stream = io.StringIO()
    telemetry, _ = _telemetry(stream, level="debug")
    telemetry.emit(RoomMeasured(guests=None))
    assert orjson.loads(stream.getvalue())["guests"] is None


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", _Terminal(), False),
        ("text", io.StringIO(), False),
        ("json", _Terminal(), True),
    ],
)
def test_lines_are_json_unless_a_person_reads_them(form: str, stream: io.StringIO, *, is_json: bool) -> None:
    Telemetry(CollectorRegistry(), _logger(stream, form=form)).emit(DoorOpened(cause="sun"))
    assert stream.getvalue().startswith("{") is is_json
    assert "door_opened" in stream.getvalue()


def test_libraries_log_warnings_in_the_same_form() -> None:
    stream = io.StringIO()
    _logger(stream, level="debug")
    logging.getLogger("aiokafka.client").info("quiet")
    logging.getLogger("aiokafka.client").warning("Unable to %s", "connect")
    line = orjson.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("Unable to connect", "warning", "aiokafka.client")


def test_what_the_kafka_client_mends_by_itself_is_no_line() -> None:
    stream = io.StringIO()
    _logger(stream)
    sender = logging.getLogger("aiokafka.producer.sender")
    sender.warning("Got error produce response: NotEnoughReplicasError")
    sender.error("Unexpected error in sender routine", exc_info=OSError("KafkaConnectionError('Connection closed')"))
    assert stream.getvalue() == ""
    sender.error("Unexpected error in sender routine", exc_info=KeyError("one"))
    assert "KeyError" in stream.getvalue()
    logging.getLogger("httpx").warning("NotEnoughReplicasError")
    assert "NotEnoughReplicasError" in stream.getvalue()


def test_libraries_can_be_silenced() -> None:
    stream = io.StringIO()
    _logger(stream, foreign_level=SILENT)
    logging.getLogger("aiokafka.client").critical("Unable to connect")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", ["json", "text"])
def test_libraries_tell_no_secrets(form: str) -> None:
    stream = io.StringIO()
    _logger(stream, form=form, secrets=("hunter2", ""))
    failure = ValueError("refused: hunter2, Authorization: Bearer abc.def-ghi")
    logging.getLogger("httpx").error("sent hunter2 and Basic Zm9vOmJhcg==", exc_info=failure)
    text = stream.getvalue()
    assert "ValueError" in text
    assert not any(secret in text for secret in ("hunter2", "abc.def", "Zm9v"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(DoorClosed, "door_closed"), (type("KMPUnreachable", (), {}), "kmp_unreachable"), (type("Up", (), {}), "up")],
)
def test_names_are_words_with_underscores(kind: type[Event], name: str) -> None:
    assert name_of(kind) == name


@pytest.mark.parametrize("kind", all_events(), ids=name_of)
def test_every_event_can_be_told(kind: type[Event]) -> None:
    names = {field.name for field in fields(kind)}
    assert names.isdisjoint({"event", "level", "timestamp", "logger"})
    for metric in kind.metrics:
        assert metric.name.startswith("bridge_")
        assert set(metric.labels) <= names
        assert "interaction_id" not in metric.labels
        assert _measured(metric) <= names


def test_metrics_of_one_name_are_the_same() -> None:
    seen: dict[str, tuple[type[Metric], str, tuple[str, ...], str | None]] = {}
    for metric in (metric for kind in all_events() for metric in kind.metrics):
        zero_in = metric.zero_in if isinstance(metric, Gauge) else None
        shape = (type(metric), metric.help, metric.labels, zero_in)
        assert seen.setdefault(metric.name, shape) == shape, metric.name


def test_names_of_events_are_unique() -> None:
    names = [name_of(kind) for kind in all_events()]
    assert len(names) == len(set(names))


def test_the_page_of_events_is_up_to_date() -> None:
    assert _PAGE.read_text(encoding="utf-8") == events_page(), "run `python -m bridge.telemetry > docs/events.md`"


def _measured(metric: Metric) -> set[str]:
    match metric:
        case Counter(by=str(field)) | Gauge(value=str(field)) | Histogram(value=field):
            return {field}
        case Gauge():
            assert metric.fixed is not None
    return set()

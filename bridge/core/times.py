"""Points in time as the topics spell them: RFC 3339, UTC, milliseconds, `Z`; inside they are epoch milliseconds."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

# RFC 3339 section 5.6. `datetime.fromisoformat` alone also takes dates, week dates and times without an offset.
_RFC_3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2}[Tt ](?:[01]\d|2[0-3]):\d{2}:\d{2})(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
# Records come in the order of time, so that a few thousand seconds are worked on at once at most.
_SECONDS_KEPT = 4_096
_MOMENTS_KEPT = 256


# What is made of one record spells its time three to five times.
@lru_cache(_MOMENTS_KEPT)
def to_rfc3339(at_ms: int) -> str:
    """`at_ms` (epoch milliseconds) as `2026-01-05T10:00:00.120Z`.

    A time outside the years 1 to 9999 is moved to the nearest one inside, so that no clock can stop a worker.
    """
    second, millisecond = divmod(min(max(at_ms, -62_135_596_800_000), 253_402_300_799_999), 1000)
    return f"{_spelled(second)}.{millisecond:03d}Z"


def from_rfc3339(text: str) -> int:
    """Epoch milliseconds of an RFC 3339 time; finer digits are cut off.

    Raises ValueError for anything else. A leap second (`:60`) is read as the last second of its minute.
    """
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise ValueError("no RFC 3339 time")
    second, fraction, offset = found.groups()
    millisecond = int(fraction[1:4].ljust(3, "0")) if fraction else 0
    return _epoch_second(second, offset) * 1000 + millisecond


@lru_cache(_SECONDS_KEPT)
def _spelled(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat(timespec="seconds")


@lru_cache(_SECONDS_KEPT)
def _epoch_second(second: str, offset: str) -> int:
    if second.endswith(":60"):
        second = f"{second[:-2]}59"
    at = datetime.fromisoformat(f"{second[:10]}T{second[11:]}{'+00:00' if offset in 'Zz' else offset}")
    return (at - _EPOCH) // _SECOND

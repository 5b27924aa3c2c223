"""Points in time as the topics spell them: RFC 3339, UTC, milliseconds, `Z`; inside they are epoch milliseconds."""

import re
from datetime import UTC, datetime, timedelta

# RFC 3339 section 5.6. `datetime.fromisoformat` alone also takes dates, week dates and times without an offset.
_RFC_3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}):(\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_rfc3339(at_ms: int) -> str:
    """`at_ms` (epoch milliseconds) as `2026-01-05T10:00:00.120Z`.

    A time outside the years 1 to 9999 is moved to the nearest one inside, so that no clock can stop a worker.
    """
    at_ms = min(max(at_ms, -62_135_596_800_000), 253_402_300_799_999)
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return f"{at.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def from_rfc3339(text: str) -> int:
    """Epoch milliseconds of an RFC 3339 time; finer digits are cut off.

    Raises ValueError for anything else. A leap second (`:60`) is read as the last second of its minute.
    """
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise ValueError("no RFC 3339 time")
    day, minute, second, fraction, offset = found.groups()
    second = "59" if second == "60" else second
    offset = "+00:00" if offset in "Zz" else offset
    at = datetime.fromisoformat(f"{day}T{minute}:{second}{offset}")
    milliseconds = int((fraction or ".0")[1:4].ljust(3, "0"))
    return (at - _EPOCH) // _MILLISECOND + milliseconds

"""A lag that is set by hand."""

from bridge.core.valve import Lag


class FakeLag:
    """Set `records` to what the probe shall see (None where nobody knows), `oldest_ms` to the oldest one's time."""

    def __init__(self, records: int | None = 0) -> None:
        self.records = records
        self.oldest_ms: int | None = None

    async def sample(self) -> Lag | None:
        return None if self.records is None else Lag(records=self.records, oldest_ms=self.oldest_ms)

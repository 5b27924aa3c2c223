"""A lag that is set by hand."""


class FakeLag:
    """Set `records` to what the probe shall see; None where nobody knows."""

    def __init__(self, records: int | None = 0) -> None:
        self.records = records

    async def lag(self) -> int | None:
        return self.records

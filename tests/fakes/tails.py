"""Ends of partitions that are set by hand."""

from collections.abc import Collection, Mapping


class FakeTails:
    """Set `last` to the times of the last records, by partition."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.asked: list[Collection[int]] = []

    async def last_ms(self, partitions: Collection[int]) -> Mapping[int, int]:
        self.asked.append(partitions)
        return {number: self.last[number] for number in partitions if number in self.last}

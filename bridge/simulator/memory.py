"""What a simulator remembers for the books: a lot, but not without end."""

from typing import Generic, TypeVar

MAX_REMEMBERED = 500_000

_T = TypeVar("_T")


class Remembered(Generic[_T]):
    """Things in the order in which they came: at least the last `at_least` of them, at most twice as many."""

    def __init__(self, *, at_least: int = MAX_REMEMBERED) -> None:
        self.items: list[_T] = []
        self._at_least = at_least
        self._forgotten = 0

    @property
    def count(self) -> int:
        """How many there were, the forgotten ones included."""
        return self._forgotten + len(self.items)

    def add(self, item: _T) -> int:
        """Remembers one more; returns the number under which it can be replaced."""
        self.items.append(item)
        if len(self.items) > 2 * self._at_least:
            del self.items[: self._at_least]
            self._forgotten += self._at_least
        return self.count - 1

    def replace(self, number: int, item: _T) -> None:
        """Puts another in its place, if it is not forgotten."""
        if number >= self._forgotten:
            self.items[number - self._forgotten] = item


def forget_oldest(held: dict[str, bytes], *, at_most: int = MAX_REMEMBERED) -> None:
    """Drops what came first, so that at most `at_most` are left."""
    while len(held) > at_most:
        del held[next(iter(held))]

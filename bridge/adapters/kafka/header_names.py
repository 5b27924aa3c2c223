"""Records whose header names are not UTF-8 are read like all others.

Kafka's clients in C write any bytes as the name of a header, and the brokers take them. aiokafka raises
UnicodeDecodeError for them out of `getmany`, at the same record again and again: one click could stop the bridge. Here
such a name is read with its strange bytes spelled out (`\\xff`), everything else of the record as it is.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


def tolerate_header_names() -> None:
    """Has all consumers of this process read such records. aiokafka is pinned exactly: it has no option for this."""
    fetcher.MemoryRecords = _Batches


class _Batches(_MemoryRecordsPy):  # type: ignore[misc] # aiokafka has no types
    """The batches of a fetched partition. Only their borders are found in Python; records are decoded in C."""

    def next_batch(self) -> Any:
        piece = self._next_slice
        batch = super().next_batch()
        return _Batch(batch, piece) if isinstance(batch, DefaultRecordBatch) else batch


class _Batch:
    """A batch that the fast reader reads, and the slow one from where the fast one fails."""

    def __init__(self, fast: Any, piece: memoryview) -> None:
        self._fast = fast
        self._piece = piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)

    def __next__(self) -> Any:
        return next(self._fast)

    def __iter__(self) -> Iterator[Any]:
        count = 0
        try:
            for record in self._fast:
                yield record
                count += 1
        except UnicodeDecodeError:
            for at, record in enumerate(_SlowBatch(bytearray(self._piece))):
                if at >= count:
                    yield record


class _SlowBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # aiokafka has no types
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        if not isinstance(self._buffer, _Buffer):
            self._buffer = _Buffer(self._buffer)


class _Buffer(bytearray):
    """Its pieces decode whatever they hold; the reader decodes nothing but header names."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Piece(found) if isinstance(at, slice) else found


class _Piece(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)

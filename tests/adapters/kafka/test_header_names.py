"""Header names that are not UTF-8, as clients in C write them."""

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bridge.adapters.kafka.header_names import _Batches


def batch(*names: bytes) -> bytes:
    """A record batch (format 2) with one record for each header name, which may be any bytes."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    placeholders = [f"name-{at:02}-" + "x" * len(name) for at, name in enumerate(names)]
    for at, placeholder in enumerate(placeholders):
        builder.append(at, timestamp=at, key=b"k", value=b"v%d" % at, headers=[(placeholder, b"h")])
    built = bytes(builder.build())
    for placeholder, name in zip(placeholders, names, strict=True):
        built = built.replace(placeholder.encode(), name.rjust(len(placeholder), b"-"))
    return built


def read(data: bytes) -> list[tuple[int, bytes, str]]:
    found = []
    batches = _Batches(data)
    while (one := batches.next_batch()) is not None:
        found += [(record.offset, record.value, record.headers[0][0].lstrip("-")) for record in one]
    return found


def test_good_names_are_read_as_they_are() -> None:
    assert read(batch(b"ce_id", "größe".encode())) == [(0, b"v0", "ce_id"), (1, b"v1", "größe")]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_strange_name_is_spelled_out_and_no_record_is_lost_or_doubled(at: int) -> None:
    names = [b"one", b"two", b"three"]
    names[at] = b"\xff\xfe"
    spelled = ["one", "two", "three"]
    spelled[at] = "\\xff\\xfe"
    assert read(batch(*names)) == [(offset, b"v%d" % offset, spelled[offset]) for offset in range(3)]


def test_several_batches_are_read_one_after_the_other() -> None:
    assert len(read(batch(b"a") + batch(b"\xff") + batch(b"b", b"c"))) == 4

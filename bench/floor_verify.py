"""The floor for `bridge verify`: the plainest loop that reads all topics and looks what became of each record.

Each raw record needs one ranked list and one audit event, each click one export, each export one audit event, by
`x-source`. No order, no recount of acceptances, bodies or rates, no dead letters, no positions of groups, no bound on
memory but that of one partition number at a time.

    python -m bench.floor_verify SERVERS PARTITIONS RAW RANKED AUDIT CLICKS EXPORTS ACCEPTANCE
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition


async def check(servers: str, partitions: int, topics: Sequence[str]) -> tuple[int, bool]:
    """How many records stand on the topics, and whether something was made of each input."""
    raw, ranked, audit, clicks, exports, _ = topics
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        read, is_balanced = 0, True
        for number in range(partitions):
            left = [TopicPartition(topic, number) for topic in topics]
            consumer.assign(left)
            ends = await consumer.end_offsets(left)
            there: dict[str, set[bytes]] = {topic: set() for topic in topics}
            made: dict[str, Counter[bytes]] = {topic: Counter() for topic in topics}
            while left:
                for records in (await consumer.getmany(*left, timeout_ms=50)).values():
                    read += len(records)
                    for record in records:
                        there[record.topic].add(f"{record.topic}/{number}/{record.offset}".encode())
                        made[record.topic][dict(record.headers).get("x-source", b"")] += 1
                left = [one for one in left if await consumer.position(one) < ends[one]]
            for source, outputs in ((raw, (ranked, audit)), (clicks, (exports, audit)), (exports, (audit,))):
                is_balanced &= all(made[output][place] == 1 for output in outputs for place in there[source])
        return read, is_balanced
    finally:
        await consumer.stop()


def main() -> None:
    """Prints what `bridge verify --json` does, of these two: records, balanced."""
    servers, partitions, *topics = sys.argv[1:]
    records, is_balanced = asyncio.run(check(servers, int(partitions), topics))
    print(json.dumps({"records": records, "balanced": is_balanced}))


if __name__ == "__main__":
    main()

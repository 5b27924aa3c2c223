"""`bridge` with faults: it dies at a step of a transaction, its loop stands still for a while, or its ranker for good.

`TEST_DIES_AT=EndTxn/7`: kill -9 when the broker has done its seventh end of a transaction, before the client knows it.
`TEST_BLOCKS_S=5`: after SIGUSR1 the loop stands still for five seconds.
`TEST_STANDS=1`: the ranker takes batches and finishes none.
"""

import asyncio
import os
import signal
import time
from itertools import count
from typing import Any

from aiokafka.producer import sender

from bridge.cli.main import main
from bridge.workers.ranker import Ranker

_HANDLERS = {
    "InitProducerId": sender.InitPIDHandler,
    "AddPartitionsToTxn": sender.AddPartitionsToTxnHandler,
    "Produce": sender.SendProduceReqHandler,
    "AddOffsetsToTxn": sender.AddOffsetsToTxnHandler,
    "TxnOffsetCommit": sender.TxnOffsetCommitHandler,
    "EndTxn": sender.EndTxnHandler,
}
STEPS = tuple(_HANDLERS)


def die_at(step: str, number: int) -> None:
    """From now on the answer to the `number`-th request of this kind is never read."""
    handler = _HANDLERS[step]
    answers, handle = count(1), handler.handle_response

    def handle_or_die(self: object, response: Any) -> Any:
        if next(answers) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return handle(self, response)

    handler.handle_response = handle_or_die


def block_on_signal(for_s: float) -> None:
    """The handler runs between two steps of the loop's own thread."""
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(for_s))


def stand() -> None:
    """Nothing fails, and nothing comes of anything; a new consumer changes nothing."""

    async def rank_for_ever(*_: object) -> None:
        await asyncio.Event().wait()

    Ranker._rank = rank_for_ever  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    if "TEST_DIES_AT" in os.environ:
        name, _, at = os.environ["TEST_DIES_AT"].partition("/")
        die_at(name, int(at))
    if "TEST_BLOCKS_S" in os.environ:
        block_on_signal(float(os.environ["TEST_BLOCKS_S"]))
    if "TEST_STANDS" in os.environ:
        stand()
    main()

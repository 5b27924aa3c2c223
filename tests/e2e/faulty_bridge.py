"""`bridge` with faults: it dies or freezes at a step of a transaction, or its loop stands still, or its ranker does.

`TEST_DIES_AT=EndTxn/7`: kill -9 when the broker has done its seventh end of a transaction, before the client knows it.
`TEST_FREEZES_AT=Produce`: after SIGUSR1 it stops, as by SIGSTOP, when the broker has done its next write of records.
`TEST_BLOCKS_S=5`: after SIGUSR1 the loop stands still for five seconds.
`TEST_STANDS=1`: the ranker takes batches and finishes none.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
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


def before_each_answer(step: str, do: Callable[[], None]) -> None:
    """From now on `do` is called when the broker has done such a step, before the client knows it."""
    handler = _HANDLERS[step]
    handle = handler.handle_response

    def do_and_handle(self: object, response: Any) -> Any:
        do()
        return handle(self, response)

    handler.handle_response = do_and_handle


def die_at(step: str, number: int) -> None:
    """From now on the answer to the `number`-th request of this kind is never read."""
    answers = count(1)

    def die_in_turn() -> None:
        if next(answers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    before_each_answer(step, die_in_turn)


def freeze_on_signal(step: str) -> None:
    """After each signal the answer to the next request of this kind is read only once the process is woken."""
    is_due = False

    def fall_due(*_: object) -> None:
        nonlocal is_due
        is_due = True

    def freeze_if_due() -> None:
        nonlocal is_due
        if is_due:
            is_due = False
            os.kill(os.getpid(), signal.SIGSTOP)

    signal.signal(signal.SIGUSR1, fall_due)
    before_each_answer(step, freeze_if_due)


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
    if "TEST_FREEZES_AT" in os.environ:
        freeze_on_signal(os.environ["TEST_FREEZES_AT"])
    if "TEST_BLOCKS_S" in os.environ:
        block_on_signal(float(os.environ["TEST_BLOCKS_S"]))
    if "TEST_STANDS" in os.environ:
        stand()
    main()

"""`bridge` with faults: it dies at a step of a transaction, or its event loop stands still for a while.

`TEST_DIES_AT=EndTxn/7`: kill -9 when the broker has done its seventh end of a transaction, before the client knows it.
`TEST_BLOCKS_S=5`: after SIGUSR1 the loop stands still for five seconds.
"""

import os
import signal
import time
from itertools import count
from typing import Any

from aiokafka.producer import sender

from bridge.cli.main import main

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


if __name__ == "__main__":
    if "TEST_DIES_AT" in os.environ:
        name, _, at = os.environ["TEST_DIES_AT"].partition("/")
        die_at(name, int(at))
    if "TEST_BLOCKS_S" in os.environ:
        block_on_signal(float(os.environ["TEST_BLOCKS_S"]))
    main()

"""Questions to the coordinator of a group or of a transactional id, which may have to be found first."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError

from bridge.core.errors import UnavailableError

_AGAIN_S = 0.05

_T = TypeVar("_T")


async def patiently(ask: Callable[[], Awaitable[_T]], *, about: str, timeout_s: float) -> _T:
    """The answer; raises UnavailableError, whose reason names what the question was `about`.

    A coordinator that moves or loads, and one whose topic is made only by the first question that a cluster is ever
    asked, answers with an error that Kafka calls retriable. It is asked again until `timeout_s`.
    """
    last: KafkaError | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await ask()
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    last = error
                await asyncio.sleep(_AGAIN_S)
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"no {about}: {type(last or error).__name__}") from error

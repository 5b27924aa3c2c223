"""An intake that writes down what it is told, and can be closed for reading."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from bridge.core.dialects.agentassist import Received, Suggestions, Unreadable
from tests.adapters.genesys.server import Seen


class Told(NamedTuple):
    """One call: `what` is the method, `detail` a request id, cause or reason."""

    what: str
    interaction_id: str
    detail: str


class RecordingIntake:
    """`taken` has what was read, `told` what happened to the subscriptions; `read_to_ms` is of lost connections."""

    def __init__(self, seen: Seen) -> None:
        self.taken: list[Received] = []
        self.told: list[Told] = []
        self.read_to_ms: list[int] = []
        self._seen = seen
        self._readable = asyncio.Event()
        self._readable.set()
        self.waiting = 0

    @property
    def may_read(self) -> bool:
        return self._readable.is_set()

    async def until_readable(self) -> None:
        self.waiting += 1
        self._seen.tell()
        try:
            await self._readable.wait()
        finally:
            self.waiting -= 1

    async def until_told(self) -> None:
        """Waits until something more was told."""
        await self._seen.wait()

    def pause(self) -> None:
        self._readable.clear()

    def resume(self) -> None:
        self._readable.set()

    def take(self, received: Received, *, at_ms: int) -> None:
        self.taken.append(received)
        self._seen.tell()

    def subscribed(self, interaction_ids: Sequence[str], *, request_ids: Sequence[str], at_ms: int) -> None:
        self._tell("subscribed", interaction_ids, request_ids)

    def disconnected(self, interaction_ids: Sequence[str], *, cause: str, read_to_ms: int) -> None:
        self.read_to_ms.append(read_to_ms)
        self._tell("disconnected", interaction_ids, [cause] * len(interaction_ids))

    def finished(self, interaction_ids: Sequence[str], *, reason: str, at_ms: int) -> None:
        self._tell("finished", interaction_ids, [reason] * len(interaction_ids))

    def suppressed(self, interaction_id: str, *, frames: int, at_ms: int) -> None:
        self._tell("suppressed", [interaction_id], [str(frames)])

    def suggestions(self) -> list[Suggestions]:
        return [one for one in self.taken if isinstance(one, Suggestions)]

    def unreadable(self) -> list[Unreadable]:
        return [one for one in self.taken if isinstance(one, Unreadable)]

    def history(self, interaction_id: str) -> list[str]:
        """What happened to an interaction: `subscribed`, `disconnected: dropped`, `finished: closed`."""
        return [
            one.what if one.what == "subscribed" else f"{one.what}: {one.detail}"
            for one in self.told
            if one.interaction_id == interaction_id
        ]

    def _tell(self, what: str, interaction_ids: Sequence[str], details: Sequence[str]) -> None:
        assert len(interaction_ids) == len(details)
        self.told += [Told(what, one, detail) for one, detail in zip(interaction_ids, details, strict=True)]
        self._seen.tell()

"""What one socket is to carry, and what it carries: the difference is what must be sent."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.core.values import Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What must be sent next."""

    subscribe: Sequence[Subscription]
    unsubscribe: Sequence[str]


class Wanted:
    """The subscriptions of one socket; they outlive its connections."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._live: set[str] = set()
        self._unsent: dict[str, None] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._subscriptions)

    def __contains__(self, interaction_id: str) -> bool:
        return interaction_id in self._subscriptions

    @property
    def live(self) -> int:
        """How many are subscribed on the open connection."""
        return len(self._live)

    def add(self, subscription: Subscription) -> None:
        """Wants this; one of the same interaction is replaced and sent again."""
        self._subscriptions[subscription.interaction_id] = subscription
        self._note(subscription.interaction_id)

    def remove(self, interaction_id: str) -> None:
        """Wants this no longer."""
        self._subscriptions.pop(interaction_id, None)
        if interaction_id in self._live:
            self._note(interaction_id)
        else:
            self._unsent.pop(interaction_id, None)
            self._changed.set()

    async def until_changed(self) -> None:
        """Waits until something must be sent, or nothing is wanted any more."""
        await self._changed.wait()

    async def until_any(self) -> None:
        """Waits until something is wanted."""
        while not self._subscriptions:
            self._changed.clear()
            await self._changed.wait()
        self._changed.set()

    def take_changes(self, *, at_most: int) -> Changes:
        """What must be sent now, at most so many; the rest is left for the next call."""
        taken = [interaction_id for interaction_id, _ in zip(self._unsent, range(at_most), strict=False)]
        for interaction_id in taken:
            del self._unsent[interaction_id]
        if not self._unsent:
            self._changed.clear()
        return Changes(
            subscribe=[self._subscriptions[one] for one in taken if one in self._subscriptions],
            unsubscribe=[one for one in taken if one not in self._subscriptions and one in self._live],
        )

    def sent(self, *, subscribed: Iterable[str], unsubscribed: Iterable[str]) -> None:
        """These were sent."""
        self._live.update(subscribed)
        self._live.difference_update(unsubscribed)

    def refuse(self, interaction_id: str) -> bool:
        """Genesys refuses this; False where that says nothing, because it is not wanted or was written again since."""
        if interaction_id not in self._subscriptions or interaction_id in self._unsent:
            return False
        del self._subscriptions[interaction_id]
        self._live.discard(interaction_id)
        self._changed.set()
        return True

    def finish_live(self) -> list[str]:
        """Wants no longer what the connection carried, except what was written again since; says what that was."""
        finished = [one for one in self._live if one in self._subscriptions and one not in self._unsent]
        for interaction_id in finished:
            del self._subscriptions[interaction_id]
        self._live.difference_update(finished)
        return finished

    def lose_connection(self) -> list[str]:
        """The connection is gone: everything must be sent again on the next one. Says what it carried and is wanted."""
        lost = [one for one in self._live if one in self._subscriptions]
        self._live.clear()
        self._unsent = dict.fromkeys(self._subscriptions)
        self._changed.set()
        return lost

    def _note(self, interaction_id: str) -> None:
        self._unsent[interaction_id] = None
        self._changed.set()

"""What one socket is to carry, and what each of its connections carries: the difference is what must be sent."""

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
    """The subscriptions of one socket; they outlive its connections, of which there are two during a rotation."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._connections: list[Carried] = []
        self._is_any = asyncio.Event()

    def __len__(self) -> int:
        return len(self._subscriptions)

    def __contains__(self, interaction_id: str) -> bool:
        return interaction_id in self._subscriptions

    @property
    def live(self) -> int:
        """How many are subscribed on the connection that carries most of them."""
        return max((connection.live for connection in self._connections), default=0)

    def add(self, subscription: Subscription) -> None:
        """Wants this; one of the same interaction is replaced and sent again."""
        self._subscriptions[subscription.interaction_id] = subscription
        self._is_any.set()
        for connection in self._connections:
            connection.note(subscription.interaction_id)

    def remove(self, interaction_id: str) -> None:
        """Wants this no longer."""
        self._subscriptions.pop(interaction_id, None)
        if not self._subscriptions:
            self._is_any.clear()
        for connection in self._connections:
            connection.note(interaction_id)

    async def until_any(self) -> None:
        """Waits until something is wanted."""
        await self._is_any.wait()

    def connect(self) -> "Carried":
        """A new connection: everything must be sent on it."""
        connection = Carried(self, self._subscriptions)
        self._connections.append(connection)
        return connection

    def disconnect(self, connection: "Carried", *, is_read_up: bool) -> Sequence[str]:
        """The connection is gone; `is_read_up` if all was read that was sent there. Says of what frames may be missing.

        An older connection has delivered all the time. A younger one delivers what came since it was heard: the rest is
        what this one has brought, up to its end. What may be missing is subscribed once more where it is subscribed
        already, because that is where a gap ends.
        """
        at = self._connections.index(connection)
        self._connections.remove(connection)
        others = self._connections[:at]
        if is_read_up:
            others += [other for other in self._connections[at:] if other.is_heard]
        lost = [one for one in connection.carried() if not any(other.carries(one) for other in others)]
        for interaction_id in lost:
            for other in self._connections:
                other.note(interaction_id)
        return lost

    def finish(self, connection: "Carried") -> Sequence[str]:
        """Wants no longer what only this connection carried, except what was written again since; says what it was."""
        carried = [one for one in connection.carried() if not connection.must_send(one)]
        finished = [one for one in carried if not self._is_carried_beside(connection, one)]
        for interaction_id in finished:
            self.remove(interaction_id)
        return finished

    def wanted(self, interaction_id: str) -> Subscription | None:
        """The subscription of an interaction; None where it is not wanted."""
        return self._subscriptions.get(interaction_id)

    def _is_carried_beside(self, connection: "Carried", interaction_id: str) -> bool:
        return any(other.carries(interaction_id) for other in self._connections if other is not connection)


class Carried:
    """What one connection has been asked for, and what it must still be asked.

    `is_heard` once Genesys has acted on what it was asked for at first: what is sent is not heard yet.
    """

    def __init__(self, wanted: Wanted, interaction_ids: Iterable[str]) -> None:
        self.is_heard = False
        self._wanted = wanted
        self._live: set[str] = set()
        self._unsent: dict[str, None] = dict.fromkeys(interaction_ids)
        self._changed = asyncio.Event()
        self._changed.set()

    @property
    def live(self) -> int:
        """How many are subscribed on this connection."""
        return len(self._live)

    @property
    def has_all(self) -> bool:
        """Whether everything has been sent."""
        return not self._unsent

    def carries(self, interaction_id: str) -> bool:
        """Whether an interaction is subscribed here."""
        return interaction_id in self._live

    def must_send(self, interaction_id: str) -> bool:
        """Whether something about an interaction has not been sent yet."""
        return interaction_id in self._unsent

    def carried(self) -> Sequence[str]:
        """What is subscribed here and still wanted."""
        return [one for one in self._live if one in self._wanted]

    def note(self, interaction_id: str) -> None:
        """What is wanted of an interaction has changed."""
        if interaction_id in self._wanted or interaction_id in self._live:
            self._unsent[interaction_id] = None
        else:
            self._unsent.pop(interaction_id, None)
        self._changed.set()

    async def until_changed(self) -> None:
        """Waits until something must be sent, or nothing is wanted any more."""
        await self._changed.wait()

    def take_changes(self, *, at_most: int) -> Changes:
        """What must be sent now, at most so many; the rest is left for the next call."""
        taken = [interaction_id for interaction_id, _ in zip(self._unsent, range(at_most), strict=False)]
        for interaction_id in taken:
            del self._unsent[interaction_id]
        if not self._unsent:
            self._changed.clear()
        wanted = [(one, self._wanted.wanted(one)) for one in taken]
        return Changes(
            subscribe=[subscription for _, subscription in wanted if subscription is not None],
            unsubscribe=[one for one, subscription in wanted if subscription is None and one in self._live],
        )

    def sent(self, *, subscribed: Iterable[str], unsubscribed: Iterable[str]) -> None:
        """These were sent."""
        self._live.difference_update(unsubscribed)
        for interaction_id in subscribed:
            self._live.add(interaction_id)
            if interaction_id not in self._wanted:
                self.note(interaction_id)  # It ended while it was being sent.

    def refuse(self, interaction_id: str) -> bool:
        """Genesys refuses this; False where that says nothing, because it is not wanted or was written again since."""
        if interaction_id not in self._wanted or interaction_id in self._unsent:
            return False
        self._live.discard(interaction_id)
        self._wanted.remove(interaction_id)
        return True

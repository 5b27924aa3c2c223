"""Workers of the bridge in the test's own process, and what they tell."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from bridge.adapters import http
from bridge.adapters.genesys.options import Options as GenesysOptions
from bridge.adapters.kmp import Options as KmpOptions
from bridge.app import App
from bridge.core.events.kinds import Event
from bridge.core.topics import Options as TopicOptions
from bridge.ports import Condition
from bridge.settings import Settings
from bridge.simulator.genesys import CLIENT, GenesysSimulator
from bridge.simulator.kmp import KmpSimulator
from bridge.simulator.rest import LIBRARIES
from tests.kafka.cluster import Cluster
from tests.showing import show

_DEADLINE_S = 60

_E = TypeVar("_E", bound=Event)


class Told:
    """The events that were told so far, and waiting for the next ones."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def all(self, kind: type[_E]) -> list[_E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[_E], holds: Callable[[_E], bool] = lambda _: True, *, after: int = 0) -> _E:
        """The first event of a kind that `holds`, of those told after the first `after` ones (at most 60 s)."""
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                self._changed.clear()
                for event in self.events[after:]:
                    if isinstance(event, kind) and holds(event):
                        return event
                await self._changed.wait()

    async def never(self, kind: type[_E], *, for_s: float) -> None:
        """Returns when so much time has passed in which nothing of this kind was told."""
        with suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                raise AssertionError(str(await self.until(kind, after=len(self.events))))


class Workers(Told):
    """Running workers."""

    def __init__(self, settings: Settings, names: Sequence[str]) -> None:
        super().__init__()
        self.app = App(settings, names, emit=self.emit, registry=CollectorRegistry())

    def conditions(self) -> dict[str, Condition]:
        """What `/readyz` says, by name."""
        return {condition.name: condition for condition in self.app.conditions()}

    async def until_condition(self, name: str, holds: Callable[[Condition], bool]) -> Condition:
        """The condition of that name once it `holds` (at most 60 s)."""
        async with asyncio.timeout(_DEADLINE_S):
            while (condition := self.conditions().get(name)) is None or not holds(condition):
                await asyncio.sleep(0.02)  # Conditions are asked for, not told.
        return condition


@asynccontextmanager
async def working(cluster: Cluster, *names: str, **sections: Any) -> AsyncIterator[Workers]:
    """Runs workers until the block ends; then they must drain and end well. `sections` are options of `Settings`."""
    workers = Workers(settings_of(cluster, **sections), names)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(workers.app.run())
        try:
            yield workers
        except BaseException:
            show((type(event).__name__ for event in workers.events), workers.events, *workers.conditions().values())
            raise
        workers.app.stop("the end of the test")
        async with asyncio.timeout(_DEADLINE_S):
            assert await running == 0


def settings_of(cluster: Cluster, **sections: Any) -> Settings:
    """The settings of workers on this cluster."""
    return Settings(
        kafka=cluster.options,
        topics=TopicOptions(partitions=cluster.topics.partitions),
        http=http.Options(port=0),
        **sections,
    )


def genesys_options(genesys: GenesysSimulator) -> GenesysOptions:
    """The section `genesys` for a simulator."""
    return GenesysOptions(
        base_url=genesys.base_url, client_id=CLIENT, client_secret=CLIENT, content_library_id=LIBRARIES[0].id
    )


def kmp_options(kmp: KmpSimulator) -> KmpOptions:
    """The section `kmp` for a simulator."""
    return KmpOptions(endpoint=kmp.endpoint)

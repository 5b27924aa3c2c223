"""Processes of the bridge: the events that they log, the signals that they are sent, how they end."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec
import orjson

from bridge.simulator.genesys import CLIENT
from bridge.simulator.rest import LIBRARIES
from bridge.simulator.script import Script
from tests.cli.processes import line_from, started
from tests.kafka.cluster import Cluster
from tests.showing import show

_DEADLINE_S = 60

_T = TypeVar("_T")


class Bridge:
    """A `bridge run` process. `lines` is what it wrote on standard error beside its events."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._process = process
        self._changed = asyncio.Event()

    def told(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """The events of that name with these fields."""
        return [event for event in self.events if _is_like(event, name, fields)]

    async def until(self, name: str, *, count: int = 1, after: int = 0, **fields: object) -> dict[str, Any]:
        """The `count`-th event of that name with these fields, of those after the first `after` (at most 60 s)."""
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                self._changed.clear()
                found = [event for event in self.events[after:] if _is_like(event, name, fields)]
                if len(found) >= count:
                    return found[count - 1]
                assert self._process.returncode is None, f"it ended before {name}: {self.lines}"
                await self._changed.wait()

    def kill(self) -> None:
        """kill -9."""
        self._process.send_signal(signal.SIGKILL)

    def freeze(self) -> None:
        """It does nothing any more, and does not know it."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on as if nothing had happened."""
        self._process.send_signal(signal.SIGCONT)

    def hold_up_its_loop(self) -> None:
        """Its event loop does nothing for a while; for `module="tests.e2e.faulty_bridge"`."""
        self._process.send_signal(signal.SIGUSR1)

    def freeze_at_its_step(self) -> None:
        """It freezes inside its next transaction, where `TEST_FREEZES_AT` says; for the same module."""
        self._process.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """Asks for an orderly end."""
        self._process.send_signal(signal.SIGTERM)

    async def until_ready(self) -> None:
        """Returns when `/readyz` says that everything is (at most 60 s)."""
        await self._until_page("readyz", 200)

    async def until_dead(self) -> None:
        """Returns when `/livez` says that something has been stuck for too long (at most 60 s)."""
        await self._until_page("livez", 503)

    async def _until_page(self, name: str, status_code: int) -> None:
        port = (await self.until("http_listening"))["port"]
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(_DEADLINE_S):
            while (await client.get(f"http://127.0.0.1:{port}/{name}")).status_code != status_code:
                await asyncio.sleep(0.05)  # A page is asked for, it tells nobody.

    async def code(self) -> int:
        """Its exit code, once it has ended (at most 60 s)."""
        async with asyncio.timeout(_DEADLINE_S):
            return await self._process.wait()

    async def read(self) -> None:
        """Reads what it writes until it ends."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if line.startswith(b'{"'):
                self.events.append(orjson.loads(line))
            else:
                self.lines.append(line.decode().rstrip("\n"))
            self._changed.set()
        await self._process.wait()
        self._changed.set()


def _is_like(event: dict[str, Any], name: str, fields: dict[str, object]) -> bool:
    return event["event"] == name and all(event.get(field) == value for field, value in fields.items())


@asynccontextmanager
async def running(*arguments: str, module: str = "bridge", **environment: str) -> AsyncIterator[Bridge]:
    """A `bridge` command (or `module` in its place) that runs beside the block, and no longer than it."""
    async with started(*arguments, module=module, **environment) as process:
        bridge = Bridge(process)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(bridge.read())
            try:
                yield bridge
            except BaseException:
                show((event["event"] for event in bridge.events), bridge.events, *bridge.lines)
                raise
            finally:
                if process.returncode is None:
                    bridge.kill()  # A frozen one, too.
                await asyncio.wait([reading])


async def stop_all(*bridges: Bridge) -> None:
    """Stops processes; they must drain and end well, without a word beside their events."""
    for bridge in bridges:
        bridge.stop()
    for bridge in bridges:
        assert await bridge.code() == 0
        assert bridge.lines == []


def environment_of(cluster: Cluster, **more: str) -> dict[str, str]:
    """The options of a process on this cluster, all events logged; `more` are further options, `KMP__ENDPOINT=…`."""
    options = cluster.options
    own = {
        "KAFKA__BOOTSTRAP_SERVERS": options.bootstrap_servers,
        "KAFKA__PREFIX": options.prefix,
        "KAFKA__SESSION_TIMEOUT_MS": str(options.session_timeout_ms),
        "KAFKA__HEARTBEAT_INTERVAL_MS": str(options.heartbeat_interval_ms),
        "KAFKA__REBALANCE_TIMEOUT_MS": str(options.rebalance_timeout_ms),
        "TOPICS__PARTITIONS": str(cluster.topics.partitions),
        "HTTP__PORT": "0",
        "LOG__LEVEL": "debug",
    }
    return {f"BRIDGE_{name}": value for name, value in (own | more).items()}


def genesys_environment(base_url: str, *, interactions: int = 8) -> dict[str, str]:
    """What `environment_of` takes for an ingress on a simulated Genesys."""
    return {
        "GENESYS__BASE_URL": base_url,
        "GENESYS__CLIENT_ID": CLIENT,
        "GENESYS__CLIENT_SECRET": CLIENT,
        "GENESYS__CONTENT_LIBRARY_ID": LIBRARIES[0].id,
        "INGRESS__INTERACTIONS": orjson.dumps([f"interaction-{one:02}" for one in range(interactions)]).decode(),
    }


class Simulator:
    """A simulator as a process of its own, and its control pages."""

    def __init__(self, address: str, client: httpx.AsyncClient) -> None:
        self.address = address
        self._client = client

    async def page(self, name: str, kind: type[_T]) -> _T:
        """A page, decoded: `page("sent", list[SentFrame])`."""
        answer = await self._client.get(f"/simulator/{name}")
        return msgspec.json.decode(answer.content, type=kind)

    async def until(self, name: str, kind: type[_T], holds: Callable[[_T], bool]) -> None:
        """Returns when a page `holds` (at most 60 s)."""
        async with asyncio.timeout(_DEADLINE_S):
            while not holds(await self.page(name, kind)):
                await asyncio.sleep(0.05)  # A page tells nobody that it has changed.

    async def post(self, faults: Script) -> None:
        """Adds faults, `at_s` seconds from now."""
        answer = await self._client.post("/simulator/faults", content=msgspec.json.encode(faults))
        answer.raise_for_status()

    async def act(self, name: str) -> None:
        """Does something: `act("stop-sending")`."""
        (await self._client.post(f"/simulator/{name}")).raise_for_status()


@asynccontextmanager
async def simulating(name: str, *arguments: str, **environment: str) -> AsyncIterator[Simulator]:
    """`bridge simulate NAME` beside the block."""
    async with started("simulate", name, *arguments, **environment) as process:
        address = (await line_from(process)).rpartition(" ")[2]
        host = "/".join(address.split("/")[:3])
        async with httpx.AsyncClient(base_url=host, trust_env=False, timeout=30) as client:
            yield Simulator(address, client)

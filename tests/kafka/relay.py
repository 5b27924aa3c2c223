"""A relay between a client and a broker, whose connections can be cut off without a word."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.broker import KafkaBroker


class Relay:
    """Passes bytes on between its port and another one; connections can be cut off as by a firewall, without a word."""

    def __init__(self) -> None:
        self.port = self.to_port = 0
        self.serving = set[asyncio.Task[None]]()
        self._cuts = 0

    def cut_off(self) -> None:
        """Whatever comes over the connections that are open now is lost; new ones work."""
        self._cuts += 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self.serving.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", self.to_port)
        cuts = self._cuts
        await asyncio.gather(self._pass_on(reader, back, cuts=cuts), self._pass_on(there, writer, cuts=cuts))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cuts: int) -> None:
        try:
            while read := await reader.read(2**16):
                if cuts == self._cuts:
                    writer.write(read)
        except ConnectionError:
            pass  # As good as an end.
        finally:
            writer.close()


@asynccontextmanager
async def relaying() -> AsyncIterator[Relay]:
    relay = Relay()
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    yield relay
    server.close()
    await asyncio.wait(relay.serving)  # Both ends are closed by now.


@asynccontextmanager
async def relayed_broker(folder: Path) -> AsyncIterator[tuple[KafkaBroker, Relay]]:
    """A broker that clients reach through a relay, once they know where it is."""
    async with relaying() as relay:
        behind = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{relay.port}"}
        with KafkaBroker(folder, **behind) as broker:
            relay.to_port = int(broker.bootstrap_servers.rpartition(":")[2])
            yield broker, relay

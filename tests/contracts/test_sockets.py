"""The port `Sockets`: one suite for the fake and for the real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from bridge.core.dialects.agentassist import Suggestions
from bridge.core.errors import StartError
from bridge.core.values import Subscription
from bridge.ports import Sockets
from tests.adapters.genesys.intake import RecordingIntake
from tests.adapters.genesys.running import running
from tests.adapters.genesys.server import GenesysServer, Peer, Scripted, Seen, genesys_server
from tests.fakes.sockets import FakeSockets


class Scene(Protocol):
    """Sockets that run, and a hand on the other side."""

    sockets: Sockets
    intake: RecordingIntake
    run: asyncio.Task[None]

    async def deliver(self, interaction_id: str) -> None:
        """Genesys sends suggestions; returns before they must have been read."""

    async def deliver_again(self, interaction_id: str) -> None:
        """Genesys sends what it sent on the former connection."""

    async def drop(self) -> None:
        """The connection is lost, and can come back."""

    async def refuse(self, interaction_id: str) -> None:
        """Genesys refuses a subscription."""

    async def until(self, interaction_id: str, *history: str) -> None:
        """Waits until exactly this has happened to the interaction."""


class FakeScene:
    """The fake, steered by its own methods."""

    def __init__(self, fake: FakeSockets) -> None:
        self._seen = Seen()
        self._fake = fake
        self.deliveries: list[asyncio.Task[None]] = []
        self.intake = RecordingIntake(self._seen)
        self.sockets: Sockets = fake
        self.run = asyncio.create_task(self.sockets.run(self.intake))

    async def deliver(self, interaction_id: str) -> None:
        frame = Suggestions(interaction_id=interaction_id, value=b"{}", occurrence=0)
        self.deliveries.append(asyncio.create_task(self._fake.deliver(frame)))

    async def deliver_again(self, interaction_id: str) -> None:
        await self._fake.suppress(interaction_id)

    async def drop(self) -> None:
        await self._fake.disconnect()
        await self._fake.connect()

    async def refuse(self, interaction_id: str) -> None:
        await self._fake.finish(interaction_id, reason="refused: no")

    async def until(self, interaction_id: str, *history: str) -> None:
        await self._seen.until(lambda: self.intake.history(interaction_id) == list(history))


class RealScene:
    """The real sockets, and a server."""

    def __init__(
        self, genesys: GenesysServer, sockets: Sockets, intake: RecordingIntake, run: asyncio.Task[None]
    ) -> None:
        self._genesys = genesys
        self.sockets = sockets
        self.intake = intake
        self.run = run

    async def deliver(self, interaction_id: str) -> None:
        (await self._peer()).suggest(interaction_id)

    async def deliver_again(self, interaction_id: str) -> None:
        await self.deliver(interaction_id)

    async def drop(self) -> None:
        (await self._peer()).drop()

    async def refuse(self, interaction_id: str) -> None:
        (await self._peer()).say(type="error", interactionId=interaction_id, code="no")

    async def until(self, interaction_id: str, *history: str) -> None:
        await self._genesys.seen.until(lambda: self.intake.history(interaction_id) == list(history))

    async def _peer(self) -> Peer:
        await self._genesys.seen.until(lambda: self._genesys.open_peers)
        return self._genesys.open_peers[-1]


@asynccontextmanager
async def fake_scene(*, is_refused: bool = False) -> AsyncIterator[Scene]:
    fake = FakeSockets(clock=lambda: 0)
    if is_refused:
        fake.refuse_to_start(StartError("the library does not exist", remedy="make it"))
    scene = FakeScene(fake)
    yield scene
    scene.intake.resume()
    await asyncio.gather(*scene.deliveries)
    await fake.stop()
    await asyncio.wait([scene.run])


@asynccontextmanager
async def real_scene(*, is_refused: bool = False) -> AsyncIterator[Scene]:
    async with genesys_server() as genesys:
        if is_refused:
            genesys.script("/contentlibraries", *[Scripted(status=200, body=b'{"entities":[]}')] * 5)
        async with running(genesys) as bridge:
            yield RealScene(genesys, bridge.sockets, bridge.intake, bridge.task)


SCENES = {"fake": fake_scene, "real": real_scene}


@pytest.fixture(params=SCENES)
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with SCENES[request.param]() as opened:
        yield opened


def want(scene: Scene, *interaction_ids: str) -> None:
    scene.sockets.subscribe([Subscription(interaction_id=one) for one in interaction_ids])


def taken(scene: Scene) -> list[str]:
    return [one.interaction_id for one in scene.intake.suggestions()]


async def test_what_is_wanted_is_subscribed_each_with_its_request_id(scene: Scene) -> None:
    want(scene, "one", "two")
    await scene.until("one", "subscribed")
    await scene.until("two", "subscribed")
    request_ids = {told.detail for told in scene.intake.told}
    assert len(request_ids) == 2
    assert all(request_ids)


async def test_what_is_wanted_again_is_subscribed_again(scene: Scene) -> None:
    want(scene, "one")
    await scene.until("one", "subscribed")
    want(scene, "one")
    await scene.until("one", "subscribed", "subscribed")


async def test_frames_are_taken(scene: Scene) -> None:
    want(scene, "one")
    await scene.until("one", "subscribed")
    await scene.deliver("one")
    await scene.deliver("never wanted")
    async with asyncio.timeout(10):
        while taken(scene) != ["one", "never wanted"]:
            await scene.intake.until_told()


async def test_nothing_is_taken_while_the_intake_may_not_be_read(scene: Scene) -> None:
    want(scene, "one")
    await scene.until("one", "subscribed")
    scene.intake.pause()
    for _ in range(3):
        await scene.deliver("one")
    async with asyncio.timeout(10):
        while not scene.intake.waiting:
            await scene.intake.until_told()
        assert len(taken(scene)) <= 1  # One read may have begun before the pause.
        scene.intake.resume()
        while len(taken(scene)) < 3:
            await scene.intake.until_told()


async def test_after_a_loss_what_is_wanted_is_subscribed_again_and_nothing_else(scene: Scene) -> None:
    want(scene, "one", "two")
    await scene.until("one", "subscribed")
    await scene.until("two", "subscribed")
    scene.sockets.unsubscribe(["two"])
    want(scene, "three")
    await scene.until("three", "subscribed")
    await scene.drop()
    await scene.until("one", "subscribed", "disconnected: dropped", "subscribed")
    await scene.until("two", "subscribed")


async def test_what_a_lost_connection_delivered_is_not_taken_again_and_told_as_suppressed(scene: Scene) -> None:
    want(scene, "one")
    await scene.until("one", "subscribed")
    await scene.deliver("one")
    async with asyncio.timeout(10):
        while taken(scene) != ["one"]:
            await scene.intake.until_told()
    await scene.drop()
    await scene.until("one", "subscribed", "disconnected: dropped", "subscribed")
    await scene.deliver_again("one")
    await scene.until("one", "subscribed", "disconnected: dropped", "subscribed", "suppressed: 1")
    assert taken(scene) == ["one"]


async def test_what_is_refused_is_finished_until_it_is_wanted_again(scene: Scene) -> None:
    want(scene, "good", "bad")
    await scene.until("bad", "subscribed")
    await scene.refuse("bad")
    await scene.until("bad", "subscribed", "finished: refused: no")
    await scene.drop()
    await scene.until("good", "subscribed", "disconnected: dropped", "subscribed")
    await scene.until("bad", "subscribed", "finished: refused: no")
    want(scene, "bad")
    await scene.until("bad", "subscribed", "finished: refused: no", "subscribed")


async def test_stop_loses_what_was_subscribed_and_ends_the_run(scene: Scene) -> None:
    want(scene, "one")
    await scene.until("one", "subscribed")
    await scene.sockets.stop()
    await scene.until("one", "subscribed", "disconnected: stopped")
    async with asyncio.timeout(10):
        await scene.run


async def test_it_is_ready_while_nothing_is_wanted_and_once_something_is_subscribed(scene: Scene) -> None:
    assert [condition.is_ready for condition in scene.sockets.conditions()] == [True]
    want(scene, "one")
    await scene.until("one", "subscribed")
    (condition,) = scene.sockets.conditions()
    assert condition.name == "genesys"
    assert condition.is_ready


@pytest.mark.parametrize("kind", SCENES)
async def test_a_permanent_refusal_at_the_start_comes_out_of_the_run(kind: str) -> None:
    async with SCENES[kind](is_refused=True) as scene:
        want(scene, "one")
        async with asyncio.timeout(10):
            with pytest.raises(StartError, match="does not exist"):
                await scene.run

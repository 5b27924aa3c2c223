"""Genesys Cloud as the bridge sees it: token, libraries, quota and suggestion socket, with faults by script."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from random import Random
from types import TracebackType
from typing import Self

import msgspec
from starlette.applications import Starlette

from bridge.simulator.door import Door
from bridge.simulator.faults import AppliedFault, FaultsInForce, RunningScript
from bridge.simulator.feed import Feed
from bridge.simulator.outlet import SentFrame
from bridge.simulator.rest import LIBRARIES, Library, genesys_pages
from bridge.simulator.script import (
    AbortHandshakes,
    AbortSockets,
    Answer,
    BeSlow,
    Burst,
    CloseSockets,
    ExpireTokens,
    Fault,
    Garbage,
    Gzip,
    MuteSockets,
    RejectToken,
    Script,
    SendFrame,
)
from bridge.simulator.serving import add_action, add_fault_route, add_page, serving
from bridge.simulator.socket import protocol_for
from bridge.simulator.sockets import Close, Sockets
from bridge.simulator.tasks import own_tasks
from bridge.simulator.times import Changes, Elapsed
from bridge.simulator.tokens import Tokens

# What the simulator takes as client id and as client secret unless told otherwise.
CLIENT = "simulator"

_TAKES = (
    CloseSockets,
    AbortSockets,
    AbortHandshakes,
    MuteSockets,
    RejectToken,
    ExpireTokens,
    Answer,
    BeSlow,
    Gzip,
    Garbage,
    Burst,
    SendFrame,
)
_CLOSE_WITHIN_S = 1.0
_AUTH_CLOSE_CODE = 4001


class GenesysState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `GET /simulator/state` answers.

    `subscriptions` are the numbers of the sockets by interaction. `answers` counts by request and status
    (`handshake 401`). `pauses` is how often a client did not take a frame within 0.2 s, `paused_s` how long in all.
    """

    open_sockets: int
    subscriptions: dict[str, list[int]]
    tokens_issued: int
    answers: dict[str, int]
    frames_sent: int
    is_paused: bool
    is_quiet: bool
    pauses: int
    paused_s: float
    closes: list[Close]
    faults: list[AppliedFault]


class GenesysSimulator:
    """A real server while it is entered: `async with GenesysSimulator(frames_per_s=40) as genesys: genesys.base_url`.

    `frames_per_s` is over all subscribed interactions, which take turns. Subscriptions of `refuse` are answered with an
    error. Equal seeds and an equal order of subscriptions give equal frames, but for their times. A socket on which
    nothing was sent for `heartbeat_s` gets a heartbeat; one that takes nothing for `patience_s` is reset. Entering
    raises StartError if the address is taken.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        client_id: str = CLIENT,
        client_secret: str = CLIENT,
        token_lifetime_s: int = 3600,
        libraries: Sequence[Library] = LIBRARIES,
        max_connections: int = 5,
        frames_per_s: float = 20.0,
        refuse: Collection[str] = (),
        script: Script = (),
        seed: int = 1,
        heartbeat_s: float = 10.0,
        patience_s: float = 60.0,
    ) -> None:
        self._host = host
        self._port = port
        self._base_url = ""
        self._libraries = libraries
        self._elapsed = Elapsed()
        self._changes = Changes()
        self._in_force = FaultsInForce()
        self._script = RunningScript[Fault](script, takes=_TAKES, elapsed=self._elapsed)
        self._tokens = Tokens(
            client_id=client_id,
            client_secret=client_secret,
            lifetime_s=token_lifetime_s,
            chance=Random(f"tokens {seed}"),
            elapsed=self._elapsed,
        )
        self._door = Door(in_force=self._in_force, elapsed=self._elapsed, tokens=self._tokens)
        self._feed = Feed(
            frames_per_s=frames_per_s,
            in_force=self._in_force,
            chance=Random(seed),
            elapsed=self._elapsed,
            changes=self._changes,
        )
        self._sockets = Sockets(
            door=self._door,
            feed=self._feed,
            max_connections=max_connections,
            refuse=refuse,
            heartbeat_s=heartbeat_s,
            patience_s=patience_s,
            elapsed=self._elapsed,
            changes=self._changes,
        )

    # -- for whoever runs it -------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:1234`, once entered."""
        return self._base_url

    @property
    def sent(self) -> Sequence[SentFrame]:
        """The frames that were sent (at least the last 500,000), in the order in which the sockets got them."""
        return self._sockets.sent.items

    @property
    def faults(self) -> Sequence[AppliedFault]:
        """The faults that have begun."""
        return self._script.applied

    def state(self) -> GenesysState:
        """How things stand."""
        outlets = self._feed.outlets.values()
        interactions = sorted({one for outlet in outlets for one in outlet.interactions})
        return GenesysState(
            open_sockets=self._sockets.open_count,
            subscriptions={
                one: [outlet.number for outlet in outlets if one in outlet.interactions] for one in interactions
            },
            tokens_issued=self._tokens.issued,
            answers=dict(self._door.answers),
            frames_sent=self._sockets.sent.count,
            is_paused=self._feed.is_paused,
            is_quiet=self._feed.is_quiet,
            pauses=self._sockets.pauses + sum(outlet.pauses for outlet in outlets),
            paused_s=self._sockets.paused_s + sum(outlet.paused_s for outlet in outlets),
            closes=list(self._sockets.closes.items),
            faults=list(self._script.applied),
        )

    def post(self, *faults: Fault) -> None:
        """Adds faults, `at_s` seconds from now. Raises ValueError for a kind that this simulator cannot do."""
        self._script.post(faults)

    def pause(self) -> None:
        """Makes no new frames; those that are made already are still sent."""
        self._feed.pause()

    def resume(self) -> None:
        """Makes frames again."""
        self._feed.resume()

    async def stop_sending(self, *, timeout_s: float = 10.0) -> bool:
        """Pauses, and waits until everything made is sent; False if a client did not take it in time."""
        self._feed.pause()
        try:
            await self.until(lambda: self._feed.is_quiet, timeout_s=timeout_s)
        except TimeoutError:
            return False
        return True

    async def until(self, holds: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Waits until `holds()`, which is asked whenever something has happened here; raises TimeoutError."""
        await self._changes.until(holds, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._base_url = await stack.enter_async_context(
                serving(self._app(), host=self._host, port=self._port, ws=protocol_for(self._sockets))
            )
            self._elapsed.restart()
            tasks = await stack.enter_async_context(own_tasks())
            self._sockets.start(tasks)
            stack.push_async_callback(self._sockets.stop, timeout_s=_CLOSE_WITHIN_S)
            for work in (self._feed.run(), self._script.run(self._perform)):
                stack.callback(tasks.create_task(work).cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def _perform(self, fault: Fault) -> None:
        match fault:
            case CloseSockets(code=code):
                self._sockets.close_all(code)
            case AbortSockets(mid_frame=mid_frame):
                self._sockets.abort_all(mid_frame=mid_frame)
            case MuteSockets():
                self._sockets.mute_all()
            case ExpireTokens():
                self._tokens.expire()
                self._sockets.close_all(_AUTH_CLOSE_CODE)
            case Garbage(count=count):
                self._feed.garbage(count)
            case Burst(frames=frames):
                self._feed.burst(frames)
            case SendFrame():
                self._feed.verbatim(fault)
            case _:
                self._in_force.apply(fault, now_s=self._elapsed())
        self._changes.tell()

    def _app(self) -> Starlette:
        app = genesys_pages(
            door=self._door,
            tokens=self._tokens,
            libraries=self._libraries,
            open_sockets=lambda: self._sockets.open_count,
        )
        add_fault_route(app, self._script.post)
        add_page(app, "/simulator/sent", lambda: self.sent)
        add_page(app, "/simulator/state", self.state)
        add_action(app, "/simulator/pause", self._pause)
        add_action(app, "/simulator/resume", self._resume)
        add_action(app, "/simulator/stop-sending", self._stop_sending)
        return app

    async def _pause(self) -> GenesysState:
        self.pause()
        return self.state()

    async def _resume(self) -> GenesysState:
        self.resume()
        return self.state()

    async def _stop_sending(self) -> GenesysState:
        await self.stop_sending()
        return self.state()

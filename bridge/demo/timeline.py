"""What goes wrong in the demo, and when: six faults, spread over its length."""

from dataclasses import dataclass

from bridge.core.events.exporter import ExportDelivered, ExportRetried
from bridge.core.events.genesys import SocketOpened
from bridge.core.events.ingress import FrameSetAside, FramesWritten, ValveClosed, ValveOpened
from bridge.core.events.kinds import Event
from bridge.simulator.script import Answer, Burst, CloseSockets, ExpireTokens, Fault, Garbage, Gzip

GZIP_BURST = "gzip burst"
GARBAGE = "garbage frames"
CLOSE = "close 1001"
EXPIRED_TOKEN = "expired token (4001)"  # noqa: S105 - the name of a fault
KMP_DOWN = "KMP answers 503"
VALVE_BURST = "burst that closes the valve"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """A fault, when it begins (seconds after the start), whose it is, and the events that show it felt and over."""

    name: str
    at_s: float
    genesys: tuple[Fault, ...] = ()
    kmp: tuple[Fault, ...] = ()
    felt_with: type[Event] | None = None
    over_with: type[Event]


def plan(seconds: float, *, burst_frames: int) -> list[PlannedFault]:
    """The faults of a demo of that length; the last fifth of it is quiet."""
    step_s = seconds / 10
    gzip_s, garbage_s, close_s, token_s, kmp_s, valve_s = (step_s * at for at in (1, 2, 3, 4, 5, 7))
    return [
        PlannedFault(
            name=GZIP_BURST,
            at_s=gzip_s,
            genesys=(
                Gzip(name=GZIP_BURST, at_s=gzip_s, frames=60),
                Burst(name=GZIP_BURST, at_s=gzip_s, frames=60),
            ),
            over_with=FramesWritten,
        ),
        PlannedFault(
            name=GARBAGE,
            at_s=garbage_s,
            genesys=(Garbage(name=GARBAGE, at_s=garbage_s, count=3),),
            over_with=FrameSetAside,
        ),
        PlannedFault(
            name=CLOSE,
            at_s=close_s,
            genesys=(CloseSockets(name=CLOSE, at_s=close_s, code=1001),),
            over_with=SocketOpened,
        ),
        PlannedFault(
            name=EXPIRED_TOKEN,
            at_s=token_s,
            genesys=(ExpireTokens(name=EXPIRED_TOKEN, at_s=token_s),),
            over_with=SocketOpened,
        ),
        PlannedFault(
            name=KMP_DOWN,
            at_s=kmp_s,
            kmp=(Answer(name=KMP_DOWN, at_s=kmp_s, status=503, where="post", retry_after="1", for_s=seconds * 0.15),),
            felt_with=ExportRetried,
            over_with=ExportDelivered,
        ),
        PlannedFault(
            name=VALVE_BURST,
            at_s=valve_s,
            genesys=(Burst(name=VALVE_BURST, at_s=valve_s, frames=burst_frames),),
            felt_with=ValveClosed,
            over_with=ValveOpened,
        ),
    ]

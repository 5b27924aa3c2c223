"""A script at work: performs each fault when it is due, and knows which ones are in force."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from bridge.simulator.script import AbortHandshakes, Answer, BeSlow, Fault, Gzip, RejectToken, Script, later, split_due
from bridge.simulator.times import Elapsed, now_ms, wait_for

# The longest wait for a change; only a guard, because every change wakes the wait.
_LOOK_AGAIN_S = 3600.0
_EVER = float("inf")

_Fault = TypeVar("_Fault", bound=Fault)


class AppliedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that has begun: its name and kind, seconds after the simulator's start, and epoch milliseconds."""

    name: str
    fault: str
    at_s: float
    at_ms: int


@dataclass(slots=True)
class _Lasting(Generic[_Fault]):
    """A fault that is in force until then, or so often."""

    fault: _Fault
    until_s: float
    times_left: float

    def is_over(self, now_s: float) -> bool:
        return now_s >= self.until_s or self.times_left <= 0


class FaultsInForce:
    """The faults that last for a while or for a number of times. Time comes in as seconds after the start."""

    def __init__(self) -> None:
        self._answers: list[_Lasting[Answer]] = []
        self._slow: list[_Lasting[BeSlow]] = []
        self._tokens_to_reject = 0
        self._handshakes_to_abort = 0
        self._gzip_until_s = 0.0
        self._gzip_frames = 0

    def apply(self, fault: AbortHandshakes | Answer | BeSlow | Gzip | RejectToken, *, now_s: float) -> None:
        """Begins a fault."""
        match fault:
            case Answer(for_s=None):
                self._answers.append(_Lasting(fault, until_s=_EVER, times_left=fault.count or 1))
            case Answer(for_s=float() | int() as for_s):
                self._answers.append(_Lasting(fault, until_s=now_s + for_s, times_left=_EVER))
            case BeSlow(for_s=for_s, count=count):
                until_s = _EVER if for_s is None else now_s + for_s
                self._slow.append(_Lasting(fault, until_s=until_s, times_left=count or _EVER))
            case Gzip(for_s=None):
                self._gzip_frames += fault.frames or 1
            case Gzip(for_s=float() | int() as for_s):
                self._gzip_until_s = max(self._gzip_until_s, now_s + for_s)
            case RejectToken():
                self._tokens_to_reject += fault.count
            case AbortHandshakes():
                self._handshakes_to_abort += fault.count

    def take_answer(self, operation: str, path: str, *, now_s: float) -> Answer | None:
        """The scripted answer to this request, or None; counts it where it is counted."""
        self._answers = [one for one in self._answers if not one.is_over(now_s)]
        for one in self._answers:
            if _is_about(one.fault.where, operation, path):
                one.times_left -= 1
                return one.fault
        return None

    def take_rejection(self) -> bool:
        """True if this token is to be rejected whatever it is; counts it."""
        if self._tokens_to_reject == 0:
            return False
        self._tokens_to_reject -= 1
        return True

    def take_abort(self) -> bool:
        """True if this handshake is to be reset; counts it."""
        if self._handshakes_to_abort == 0:
            return False
        self._handshakes_to_abort -= 1
        return True

    def take_gzip(self, *, now_s: float) -> bool:
        """True if the next frame is to be gzipped; counts it."""
        if now_s < self._gzip_until_s:
            return True
        if self._gzip_frames == 0:
            return False
        self._gzip_frames -= 1
        return True

    def delay_s(self, operation: str = "", path: str = "", *, now_s: float) -> float:
        """How much later the answer to this request comes; counts it where it is counted."""
        self._slow = [one for one in self._slow if not one.is_over(now_s)]
        about = [one for one in self._slow if _is_about(one.fault.where, operation, path)]
        for one in about:
            one.times_left -= 1
        return max((one.fault.delay_s for one in about), default=0.0)


def _is_about(where: str, operation: str, path: str) -> bool:
    if where.startswith("/"):
        return path.startswith(where)
    return where in {"", operation}


class RunningScript(Generic[_Fault]):
    """Performs each fault of a script when it is due; more can be posted while it runs."""

    def __init__(self, script: Script, *, takes: tuple[type[_Fault], ...], elapsed: Elapsed) -> None:
        self.applied: list[AppliedFault] = []
        self._takes = takes
        self._elapsed = elapsed
        self._pending: list[_Fault] = []
        self._changed = asyncio.Event()
        self._add(script)

    def post(self, faults: Script) -> None:
        """Adds faults; their `at_s` counts from now. Raises ValueError for a kind that this simulator cannot do."""
        self._add(later(faults, by_s=self._elapsed()))
        self._changed.set()

    def _add(self, faults: Script) -> None:
        known = [fault for fault in faults if isinstance(fault, self._takes)]
        if len(known) < len(faults):
            strange = [type(fault).__name__ for fault in faults if fault not in known]
            raise ValueError(f"this simulator cannot do {', '.join(strange)}")
        self._pending += known

    async def run(self, perform: Callable[[_Fault], None]) -> None:
        """Performs what is due, until cancelled."""
        while True:
            self._changed.clear()
            due, self._pending = split_due(self._pending, now_s=self._elapsed())
            for fault in due:
                kind = str(type(fault).__struct_config__.tag)
                at_s = round(self._elapsed(), 3)
                self.applied.append(AppliedFault(name=fault.name, fault=kind, at_s=at_s, at_ms=now_ms()))
                perform(fault)
            await wait_for(self._changed, timeout_s=self._wait_s())

    def _wait_s(self) -> float:
        return max(0.0, self._pending[0].at_s - self._elapsed()) if self._pending else _LOOK_AGAIN_S

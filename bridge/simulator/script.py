"""Scripts of faults: what goes wrong on the other side, and when. Read from JSON, or written in Python."""

import re
from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Status = Annotated[int, msgspec.Meta(ge=200, le=599)]
CloseCode = Annotated[int, msgspec.Meta(ge=1000, le=4999)]


def _tag(class_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()


class _Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault", tag=_tag):
    """`at_s` is seconds after the simulator's start; in a fault that is posted, seconds after the post."""

    name: str
    at_s: Seconds = 0.0


class CloseSockets(_Fault, frozen=True, kw_only=True):
    """Closes every open socket with a WebSocket close code."""

    code: CloseCode = 1001


class AbortSockets(_Fault, frozen=True, kw_only=True):
    """Resets the TCP connection of every open socket, without a close frame; `mid_frame`: after half of another one."""

    mid_frame: bool = False


class AbortHandshakes(_Fault, frozen=True, kw_only=True):
    """Resets the TCP connection of the next `count` clients that ask for a socket, without an answer."""

    count: Count = 1


class MuteSockets(_Fault, frozen=True, kw_only=True):
    """Every open socket is half-open from now on: it says and hears nothing, not even pings, and stays open."""


class RejectToken(_Fault, frozen=True, kw_only=True):
    """The next `count` requests with a token, handshakes among them, get 401."""

    count: Count = 1


class ExpireTokens(_Fault, frozen=True, kw_only=True):
    """Every token issued so far is worth nothing, and every open socket is closed with 4001."""


class Answer(_Fault, frozen=True, kw_only=True):
    """Answers with `status` for `for_s` seconds or `count` times (both left out: once).

    `where` is a path prefix (`/api/v2/…`), or what the request is: `token`, `libraries`, `config`, `handshake`, `post`;
    empty is everything. `retry_after` is the header's value as it is sent: seconds, an HTTP date, or nonsense;
    `location` that of a redirect. `body` is sent as it is, JSON or not; left out, it names the status.
    """

    status: Status
    where: str = ""
    retry_after: str | None = None
    location: str | None = None
    body: str | None = None
    for_s: Seconds | None = None
    count: Count | None = None

    def __post_init__(self) -> None:
        if self.for_s is not None and self.count is not None:
            raise ValueError("an answer has for_s or count, not both")


class BeSlow(_Fault, frozen=True, kw_only=True):
    """Every answer (of agents: every click) comes `delay_s` later, for `for_s` seconds or `count` times.

    `where` is as in `answer`.
    """

    delay_s: Seconds
    for_s: Seconds | None = None
    count: Count | None = None
    where: str = ""

    def __post_init__(self) -> None:
        if (self.for_s is None) == (self.count is None):
            raise ValueError("be_slow has either for_s or count")


class Gzip(_Fault, frozen=True, kw_only=True):
    """Suggestions are sent gzipped in binary frames, for `for_s` seconds or `frames` frames (both left out: one)."""

    for_s: Seconds | None = None
    frames: Count | None = None

    def __post_init__(self) -> None:
        if self.for_s is not None and self.frames is not None:
            raise ValueError("gzip has for_s or frames, not both")


class Garbage(_Fault, frozen=True, kw_only=True):
    """Sends `count` frames (of agents: clicks) that nobody can read, each broken in another way."""

    count: Count = 1


class Burst(_Fault, frozen=True, kw_only=True):
    """Sends `frames` suggestions (of agents: clicks) as fast as the socket takes them, over all interactions."""

    frames: Count


class SendFrame(_Fault, frozen=True, kw_only=True):
    """Sends one frame as it stands here, `times` times on one socket: text, or binary where `body_binary` is given."""

    body: str = ""
    body_binary: bytes | None = None  # Base64 in JSON.
    times: Count = 1


Fault = (
    CloseSockets
    | AbortSockets
    | AbortHandshakes
    | MuteSockets
    | RejectToken
    | ExpireTokens
    | Answer
    | BeSlow
    | Gzip
    | Garbage
    | Burst
    | SendFrame
)
Script = Sequence[Fault]

_F = TypeVar("_F", bound=_Fault)

_decoder = msgspec.json.Decoder(Fault | list[Fault])


def decode_script(text: bytes) -> list[Fault]:
    """The faults of a JSON array, or of one JSON object. Raises ValueError that says what is wrong and where."""
    try:
        decoded = _decoder.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"no script of faults: {error}") from error
    return decoded if isinstance(decoded, list) else [decoded]


def later(faults: Sequence[_F], *, by_s: float) -> list[_F]:
    """The same faults, `by_s` seconds later."""
    return [msgspec.structs.replace(fault, at_s=fault.at_s + by_s) for fault in faults]


def split_due(script: Sequence[_F], *, now_s: float) -> tuple[list[_F], list[_F]]:
    """The faults that are due at `now_s`, and those that are not yet; both in the order of their time."""
    in_order = sorted(script, key=lambda fault: fault.at_s)
    due = [fault for fault in in_order if fault.at_s <= now_s]
    return due, in_order[len(due) :]

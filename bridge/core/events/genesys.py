"""What is told about the connections to Genesys."""

from dataclasses import dataclass
from typing import ClassVar

from bridge.core.events.kinds import Counter, Event, Gauge, Level, Metric

# A foreign word must not make a time series of its own.
NOTICE_TYPES = frozenset({"heartbeat", "subscribed", "unsubscribed"})

_SOCKETS = "bridge_genesys_sockets"
_SOCKETS_HELP = "Open sockets to Genesys"
_QUOTA_FULL = "bridge_genesys_quota_full"
_QUOTA_FULL_HELP = "1 while Genesys has no connection left for a socket that is wanted"
_RECONNECTS = "bridge_genesys_reconnects"
_RECONNECTS_HELP = "Times that a socket had to be opened again"
_FAILURES = "bridge_genesys_failures_in_a_row"
_FAILURES_HELP = "Failures since the socket was last good"
_SUBSCRIPTIONS = "bridge_genesys_subscriptions"
_SUBSCRIPTIONS_HELP = "Interactions that are subscribed on the open socket"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRenewed(Event):
    """Genesys gave a new token."""

    metrics: ClassVar[tuple[Metric, ...]] = (Counter("bridge_genesys_tokens", "Tokens that Genesys gave"),)

    life_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOpened(Event):
    """A socket to Genesys is open."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_genesys_sockets_opened", "Sockets opened to Genesys"),
        Gauge(_SOCKETS, _SOCKETS_HELP, value="open_sockets", zero_in="ingress"),
    )

    socket: int
    open_sockets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketClosed(Event):
    """A socket to Genesys is gone. `code` is the WebSocket close code, 1006 where there was none.

    `cause` is one of the reconnect table, or ours: `stopped`, `unwanted`, `rotated`. `subscriptions` are those that the
    socket which took over from it carries.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_genesys_sockets_closed", "Sockets to Genesys that are gone", labels=("cause",)),
        Gauge(_SOCKETS, _SOCKETS_HELP, value="open_sockets", zero_in="ingress"),
        Gauge(_SUBSCRIPTIONS, _SUBSCRIPTIONS_HELP, labels=("socket",), value="subscriptions"),
    )

    socket: int
    code: int
    cause: str
    lived_s: float
    open_sockets: int
    subscriptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeScheduled(Event):
    """Genesys closed a socket as it should; it will be opened again at once."""

    metrics: ClassVar[tuple[Metric, ...]] = (Counter(_RECONNECTS, _RECONNECTS_HELP, labels=("cause",)),)

    socket: int
    cause: str
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectScheduled(Event):
    """A socket failed, or could not be opened; it will be tried again. `failures` are those in a row."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter(_RECONNECTS, _RECONNECTS_HELP, labels=("cause",)),
        Gauge(_FAILURES, _FAILURES_HELP, labels=("socket",), value="failures"),
    )

    socket: int
    cause: str
    reason: str
    delay_s: float
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketProvedGood(Event):
    """Failures in a row have ended: a socket carries suggestions or has lasted."""

    metrics: ClassVar[tuple[Metric, ...]] = (Gauge(_FAILURES, _FAILURES_HELP, labels=("socket",), fixed=0),)

    socket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaFull(Event):
    """Genesys has no connection left: a socket that is wanted waits."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = (Gauge(_QUOTA_FULL, _QUOTA_FULL_HELP, labels=("socket",), fixed=1),)

    socket: int
    active: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaFree(Event):
    """Genesys has a connection left again, or nothing is wanted of one any more."""

    metrics: ClassVar[tuple[Metric, ...]] = (Gauge(_QUOTA_FULL, _QUOTA_FULL_HELP, labels=("socket",), fixed=0),)

    socket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketRotated(Event):
    """A socket with a fresh token has taken over, before the token of the former one ends."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_genesys_rotations", "Sockets replaced before their token ended"),
    )

    socket: int
    subscriptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPutOff(Event):
    """A socket could not be replaced now; it goes on, and with the end of its token Genesys may close it.

    `cause` is one of the reconnect table: `quota` where there is no room for one more socket.
    """

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_genesys_rotations_put_off", "Times that a socket could not be replaced", labels=("cause",)),
    )

    socket: int
    cause: str
    reason: str
    token_left_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesSuppressed(Event):
    """Frames that another socket had delivered, since this was last told: they are not written again."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_genesys_duplicates", "Frames that another socket had delivered", by="frames"),
    )

    socket: int
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionsSent(Event):
    """Subscriptions and ends of subscriptions were sent on an open socket."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_genesys_subscribes", "Subscriptions sent", by="subscribed"),
        Counter("bridge_genesys_unsubscribes", "Ends of subscriptions sent", by="unsubscribed"),
        Gauge(_SUBSCRIPTIONS, _SUBSCRIPTIONS_HELP, labels=("socket",), value="subscriptions"),
    )

    socket: int
    subscribed: int
    unsubscribed: int
    subscriptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRefused(Event):
    """Genesys refused a subscription; it is not asked for again until it is written again."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = (Counter("bridge_genesys_refusals", "Subscriptions that Genesys refused"),)

    socket: int
    interaction_id: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesysErrorTold(Event):
    """Genesys told an error that is about no subscription."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_genesys_errors", "Errors that Genesys told about no subscription"),
    )

    socket: int
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesRead(Event):
    """Frames that were read since this was last told, all kinds together."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar[tuple[Metric, ...]] = (Counter("bridge_genesys_frames", "Frames read from Genesys", by="frames"),)

    socket: int
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticesRead(Event):
    """Frames of one `type` that say nothing about suggestions, since this was last told."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_genesys_notices", "Frames without suggestions", labels=("type",), by="frames"),
    )

    socket: int
    type: str
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesUnreadable(Event):
    """Frames that could not be used, since this was last told: they become dead letters."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_genesys_unreadable", "Frames that could not be used", labels=("dlq_class",), by="frames"),
    )

    socket: int
    dlq_class: str
    frames: int

"""What happens after a connection was lost or did not come about: one table, and the delays that it names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

# "At once" is within 1 s, and not at the same instant for every client of a server that went away.
_AT_ONCE_FIRST_S = 0.1
_AT_ONCE_SPREAD_S = 0.4

Delay = Literal["at once", "backoff", "cap", "poll"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row: what is done about one cause. The cause is the label of the metrics and stands in the events.

    `delay` "at once" is within 1 s, for a failure only where it is the first since the connection was last good, then
    backoff; "cap" is the longest delay of the backoff; "poll" is how often a full quota is looked at. What the peer
    asks for by Retry-After goes before `delay`. A permanent cause ends a process that has not had a good start; after
    one it is tried again. Whatever was subscribed is subscribed again, unless `may_finish` and the options say so.
    `remedy` is what an operator can do; of a permanent cause it is told by the error.
    """

    cause: str
    when: str
    delay: Delay = "backoff"
    renews_token: bool = False
    is_failure: bool = True
    is_permanent: bool = False
    may_finish: bool = False
    remedy: str = ""


_ON_THE_WAY = "check the network, and what stands between here and Genesys (proxies, firewalls)"
_AWAY = "see whether Genesys is in trouble"

# Sources: RFC 6455 section 7.4.1 and the IANA registry of close codes; 4001 is the dialect's own.
RULES: tuple[Rule, ...] = (
    Rule(cause="closed", when="close 1000, 1001", delay="at once", is_failure=False, may_finish=True),
    Rule(
        cause="token",
        when="close 4001; 401 to the handshake or a request",
        delay="at once",
        renews_token=True,
        remedy="check that the OAuth client is active and has the scope agentassist:view",
    ),
    Rule(
        cause="policy",
        when="close 1008",
        renews_token=True,
        remedy="check what the OAuth client may do, and that the content library is its own",
    ),
    Rule(
        cause="oversize",
        when="close 1009: a frame above the bound",
        remedy="ask who makes such suggestions: no frame of 8 MiB is read",
    ),
    Rule(cause="restarting", when="close 1012, 1013", remedy=_AWAY),
    Rule(cause="broken", when="any other close code", remedy=_AWAY),
    Rule(
        cause="dropped",
        when="the connection ended without a close frame, or before the handshake was answered",
        remedy=_ON_THE_WAY,
    ),
    Rule(
        cause="half-open",
        when="neither a frame nor a pong within genesys.idle_timeout_s",
        remedy=_ON_THE_WAY,
    ),
    Rule(
        cause="quota",
        when="the tenant has no connection left",
        delay="poll",
        is_failure=False,
        remedy="end one of them, or raise genesys.max_connections if the tenant has more",
    ),
    Rule(
        cause="busy",
        when="429",
        remedy="see who else uses this OAuth client, or the tenant's connections",
    ),
    Rule(cause="unavailable", when="5xx, or an answer that is none", remedy=_AWAY),
    Rule(
        cause="unreachable",
        when="no such host, connection refused, no answer in time",
        remedy=f"check genesys.base_url; {_ON_THE_WAY}",
    ),
    Rule(
        cause="tls",
        when="no TLS, or a certificate that is not trusted",
        remedy="check genesys.base_url, and that its certificate's authority is trusted here (SSL_CERT_FILE)",
    ),
    Rule(cause="forbidden", when="403", delay="cap", is_permanent=True),
    Rule(cause="not-found", when="404", delay="cap", is_permanent=True),
    Rule(cause="unexpected", when="any other status", remedy="check genesys.base_url"),
    Rule(cause="client-refused", when="400 or 401 from the token endpoint", delay="cap", is_permanent=True),
    Rule(cause="library", when="the content library is missing or disabled", delay="cap", is_permanent=True),
)

_BY_CAUSE: Mapping[str, Rule] = {rule.cause: rule for rule in RULES}
_CLOSES: Mapping[int, str] = {
    1000: "closed",
    1001: "closed",
    1006: "dropped",
    1008: "policy",
    1009: "oversize",
    1012: "restarting",
    1013: "restarting",
    4001: "token",
}
_STATUSES: Mapping[int, str] = {401: "token", 403: "forbidden", 404: "not-found", 429: "busy"}


def rule_of(cause: str) -> Rule:
    """The row of a cause."""
    return _BY_CAUSE[cause]


def cause_of_close(code: int) -> str:
    """The cause that a WebSocket close code stands for."""
    return _CLOSES.get(code, "broken")


def cause_of_status(status: int) -> str:
    """The cause that an HTTP status other than the expected one stands for."""
    if status >= 500 or status == 408:
        return "unavailable"
    return _STATUSES.get(status, "unexpected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Failures in a row: since a connection was last good. `renewals` counts those that renewed the token."""

    failures: int = 0
    renewals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How delays grow: `first_s` doubled at each failure (so the first one waits twice that), never above `cap_s`.

    `poll_s` is how often a full quota is looked at again.
    """

    first_s: float
    cap_s: float
    jitter_s: float
    poll_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTry:
    """When to try again, and the streak as it is then."""

    rule: Rule
    delay_s: float
    streak: Streak


def next_try(
    cause: str, streak: Streak, backoff: Backoff, *, chance: float, retry_after_s: float | None = None
) -> NextTry:
    """What to do about `cause`, after the failures of `streak` before it. `chance` (0 to 1) is the jitter."""
    rule = _BY_CAUSE[cause]
    after = streak
    if rule.is_failure:
        after = Streak(failures=streak.failures + 1, renewals=streak.renewals + rule.renews_token)
    if retry_after_s is not None:
        delay = retry_after_s + chance * backoff.jitter_s
    elif rule.delay == "poll":
        delay = backoff.poll_s
    elif rule.delay == "at once" and not (rule.is_failure and streak.renewals):
        delay = _AT_ONCE_FIRST_S + chance * _AT_ONCE_SPREAD_S
    elif rule.delay == "cap":
        delay = backoff.cap_s + chance * backoff.jitter_s
    else:
        delay = delay_s(
            after.failures, first_s=backoff.first_s, cap_s=backoff.cap_s, jitter_s=backoff.jitter_s, chance=chance
        )
    return NextTry(rule=rule, delay_s=delay, streak=after)


def delay_s(failures: int, *, first_s: float, cap_s: float, jitter_s: float, chance: float) -> float:
    """min(first · 2^failures, cap) + chance · jitter, in seconds: with `first_s` 1 the first failure waits 2 s."""
    return min(_doubled(first_s, failures), cap_s) + chance * jitter_s


def full_jitter_s(attempt: int, *, first_s: float, cap_s: float, chance: float) -> float:
    """A delay anywhere from 0 to min(first · 2^(attempt - 1), cap), in seconds; the first attempt is 1."""
    return chance * min(_doubled(first_s, attempt - 1), cap_s)


def _doubled(first_s: float, times: int) -> float:
    # 2^64 seconds are above any cap; without the bound the power would overflow after a long outage.
    return first_s * 2.0 ** min(times, 64)


def retry_after_s(value: str | None, *, now_ms: int, cap_s: float) -> float | None:
    """The seconds that a Retry-After asks for (RFC 9110 section 10.2.3: seconds or a date), from 0 to `cap_s`.

    None where there is none, or nothing readable.
    """
    if value is None:
        return None
    asked = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", asked, re.ASCII):
        return min(float(asked), cap_s)
    try:
        at = parsedate_to_datetime(asked)
        # -0000 is UTC, too, but makes a naive time.
        left_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now_ms / 1000
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(left_s, 0.0), cap_s)

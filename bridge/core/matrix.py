"""The reconnect matrix: what can happen to a connection, row by row, and what the bridge does then.

The rules are those of `reconnect.py`; the README has the matrix as `as_markdown` writes it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridge.core.reconnect import Delay, Rule, rule_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that can happen, and the cause that it stands for.

    `is_again`: it happens again before a connection was good. `asks`: the peer says by Retry-After when to come back.
    """

    what: str
    cause: str
    is_again: bool = False
    asks: bool = False


MATRIX: Sequence[Row] = (
    Row(what="close 1000 (normal)", cause="closed"),
    Row(what="close 1001 (going away)", cause="closed"),
    Row(what="close 1002 (protocol error)", cause="broken"),
    Row(what="close 1003 (unsupported data)", cause="broken"),
    Row(what="1006: the TCP connection is reset", cause="dropped"),
    Row(what="1006: … in the handshake", cause="dropped"),
    Row(what="1006: … in mid-frame", cause="dropped"),
    Row(what="close 1007 (invalid text)", cause="broken"),
    Row(what="close 1008 (policy)", cause="policy"),
    Row(what="close 1009 (too big), from either side", cause="oversize"),
    Row(what="close 1011 (internal error)", cause="broken"),
    Row(what="close 1012 (service restart)", cause="restarting"),
    Row(what="close 1013 (try again later)", cause="restarting"),
    Row(what="close 4001 (token)", cause="token"),
    Row(what="close 4001, again", cause="token", is_again=True),
    Row(what="any other close 4xxx", cause="broken"),
    Row(what="half-open: no pong, no frame", cause="half-open"),
    Row(what="handshake: 401", cause="token"),
    Row(what="handshake: 401, again", cause="token", is_again=True),
    Row(what="handshake: 403", cause="forbidden"),
    Row(what="handshake: 404", cause="not-found"),
    Row(what="handshake: 429", cause="busy"),
    Row(what="handshake: 429, Retry-After in seconds", cause="busy", asks=True),
    Row(what="handshake: 429, Retry-After as a date", cause="busy", asks=True),
    Row(what="handshake: 503", cause="unavailable"),
    Row(what="handshake: 503, Retry-After in seconds", cause="unavailable", asks=True),
    Row(what="handshake: 503, Retry-After as a date", cause="unavailable", asks=True),
    Row(what="handshake: any other 5xx", cause="unavailable"),
    Row(what="handshake: a redirect (not followed)", cause="unexpected"),
    Row(what="no such host", cause="unreachable"),
    Row(what="connection refused", cause="unreachable"),
    Row(what="no answer within `genesys.request_timeout_s`", cause="unreachable"),
    Row(what="TLS failure", cause="tls"),
    Row(what="token: 400 invalid_client", cause="client-refused"),
    Row(what="token: 401", cause="client-refused"),
    Row(what="token: 429", cause="busy"),
    Row(what="token: 429, Retry-After", cause="busy", asks=True),
    Row(what="token: 5xx", cause="unavailable"),
    Row(what="token: garbage", cause="unavailable"),
    Row(what="token: slow", cause="unreachable"),
    Row(what="content library missing", cause="library"),
    Row(what="content library disabled", cause="library"),
    Row(what="quota full, until it is free again", cause="quota"),
)

_DELAYS: dict[Delay, str] = {
    "at once": "within 1 s",
    "backoff": "backoff",
    "cap": "`genesys.reconnect_cap_s`",
    "poll": "every `genesys.quota_poll_s`",
}


def event_of(rule: Rule) -> str:
    """The log event that tells of a cause of this rule."""
    if rule.delay == "poll":
        return "quota_full"
    return "reconnect_scheduled" if rule.is_failure else "resume_scheduled"


def as_markdown() -> str:
    """The matrix as a table in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| what happens | event | `cause` | new token | next try | failure | subscriptions | permanent |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for row in MATRIX:
        rule = rule_of(row.cause)
        cells = (
            row.what,
            f"`{event_of(rule)}`",
            f"`{rule.cause}`",
            _word(is_so=rule.renews_token),
            _delay(row, rule),
            _word(is_so=rule.is_failure),
            "again, or `finish`" if rule.may_finish else "again",
            _word(is_so=rule.is_permanent),
        )
        yield f"| {' | '.join(cells)} |"


def _word(*, is_so: bool) -> str:
    return "yes" if is_so else "no"


def _delay(row: Row, rule: Rule) -> str:
    if row.asks:
        return "as asked, at most `genesys.retry_after_max_s`"
    return "backoff" if row.is_again and rule.is_failure else _DELAYS[rule.delay]

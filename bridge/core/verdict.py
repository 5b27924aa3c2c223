"""What an answer of the KMP means for the export that was posted: Delivered | RetryAfter | Refused."""

from dataclasses import dataclass
from typing import Literal

from bridge.core.reconnect import full_jitter_s, retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An HTTP answer: its status, and its `Retry-After` as it was spelled."""

    status: int
    retry_after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """No HTTP answer: no connection (or a broken one), or none in time. `detail` tells more, and never a secret."""

    cause: Literal["connection", "timeout"]
    detail: str = ""


Answer = Answered | NoAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The KMP has it."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAfter:
    """Post it again after `delay_s`; `is_asked` where that delay is the KMP's own.

    `cause` is the status, or what kept an answer from coming. `is_general` says that any other export would have been
    answered the same: the KMP is away or wants a rest.
    """

    delay_s: float
    is_asked: bool
    is_general: bool
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The KMP will never take it."""

    status: int
    reason: str


Verdict = Delivered | RetryAfter | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Which answers mean that an export is posted again, and when."""

    retry_statuses: tuple[int, ...]
    retry_after_max_s: float
    backoff_first_s: float
    backoff_cap_s: float


def judge(answer: Answer, policy: RetryPolicy, *, attempt: int, now_ms: int, chance: float) -> Verdict:
    """The verdict on the answer to the given attempt (the first is 1).

    2xx is delivered; no answer and the policy's statuses are tried again; anything else is refused, 401 among it.
    `chance` (0 to 1) is the jitter of the backoff, which is used where the KMP asks for no delay of its own.
    """
    if isinstance(answer, Answered):
        if 200 <= answer.status <= 299:
            return Delivered(status=answer.status)
        if answer.status not in policy.retry_statuses:
            return Refused(status=answer.status, reason=f"the KMP answered {answer.status}")
    asked_s = _asked_s(answer, policy, now_ms=now_ms)
    return RetryAfter(
        delay_s=asked_s or _backoff_s(policy, attempt=attempt, chance=chance),
        is_asked=asked_s > 0,
        # 409: this one export is still being processed under its key (IETF draft idempotency-key-header, section 2.6).
        is_general=isinstance(answer, NoAnswer) or answer.status != 409,
        cause=str(answer.status) if isinstance(answer, Answered) else answer.cause,
    )


def _asked_s(answer: Answer, policy: RetryPolicy, *, now_ms: int) -> float:
    """The delay that the answer asks for; 0 where it asks for none, and for "at once", which would spin."""
    if isinstance(answer, NoAnswer):
        return 0.0
    return retry_after_s(answer.retry_after, now_ms=now_ms, cap_s=policy.retry_after_max_s) or 0.0


def _backoff_s(policy: RetryPolicy, *, attempt: int, chance: float) -> float:
    return full_jitter_s(attempt, first_s=policy.backoff_first_s, cap_s=policy.backoff_cap_s, chance=chance)

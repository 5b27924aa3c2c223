"""The `agentassist` dialect without a socket: frames in -> what they say, subscriptions in -> frames out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """A frame with suggestions for an interaction.

    `value` is its JSON, inflated, byte for byte; `occurrence` counts equal frames on the same socket, from 0.
    """

    interaction_id: str
    value: bytes
    occurrence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Genesys refuses a subscription, or tells an error about none (`interaction_id` None)."""

    interaction_id: str | None
    code: str
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A frame that is no suggestion and no error: `subscribed`, `unsubscribed`, `heartbeat`, any other `type`."""

    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A frame that cannot be used: a dead letter. `value` is at most the frame bound, `size` what it really had."""

    value: bytes
    dlq_class: str
    reason: str
    size: int


Received = Suggestions | Refusal | Notice | Unreadable

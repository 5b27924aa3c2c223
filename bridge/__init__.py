"""Carries Agent Assist suggestions from Genesys Cloud into Kafka, ranked, and agents' clicks back to the KMP."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.client import AgentAssistStream

__all__ = ["AgentAssistStream"]


def __getattr__(name: str) -> object:
    # Late, so that importing a room of the bridge does not load the Kafka client (PEP 562).
    if name == "AgentAssistStream":
        from bridge.client import AgentAssistStream  # noqa: PLC0415 - see above

        return AgentAssistStream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Carries Genesys Cloud Agent Assist suggestions into Kafka, ranked, and agents' clicks back to the KMP."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.adapters.kafka.clients import Options as KafkaOptions
    from bridge.client import AgentAssistStream
    from bridge.core.batches import RankedBatch, Suggestion
    from bridge.core.errors import BridgeError, StartError, UnavailableError
    from bridge.core.outcomes import ClickOutcome
    from bridge.core.topics import Options as TopicOptions

__all__ = [
    "AgentAssistStream",
    "BridgeError",
    "ClickOutcome",
    "KafkaOptions",
    "RankedBatch",
    "StartError",
    "Suggestion",
    "TopicOptions",
    "UnavailableError",
]

_HOMES = {
    "AgentAssistStream": ("bridge.client", "AgentAssistStream"),
    "BridgeError": ("bridge.core.errors", "BridgeError"),
    "ClickOutcome": ("bridge.core.outcomes", "ClickOutcome"),
    "KafkaOptions": ("bridge.adapters.kafka.clients", "Options"),
    "RankedBatch": ("bridge.core.batches", "RankedBatch"),
    "StartError": ("bridge.core.errors", "StartError"),
    "Suggestion": ("bridge.core.batches", "Suggestion"),
    "TopicOptions": ("bridge.core.topics", "Options"),
    "UnavailableError": ("bridge.core.errors", "UnavailableError"),
}


if not TYPE_CHECKING:  # Else a checker would take every name for one that is here.

    def __getattr__(name: str) -> object:
        # Late, so that importing a room of the bridge does not load the Kafka client (PEP 562).
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)

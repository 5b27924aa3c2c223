"""What became of a click, as the audit tells it."""

from typing import Literal

import msgspec

from bridge.core.acceptance import export_id_of
from bridge.core.errors import MalformedError
from bridge.core.records import Record
from bridge.core.values import decode


class ClickOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a click.

    `delivered`: the knowledge-management platform (KMP) has it. `refused`: the KMP (`status` is its answer), or the
    bridge (`status` None), will never take it; it is a dead letter now. `expired`: it was given up. `repeated`: a click
    of this id was counted before, and that one is exported. `acceptance_rate` is the interaction's, this click
    included, as it is exported; `attempts` are POSTs.
    """

    click_id: str
    outcome: Literal["delivered", "refused", "expired", "repeated"]
    status: int | None = None
    attempts: int = 0
    acceptance_rate: float | None = None


class _Audit(msgspec.Struct, rename="camel"):
    event: str
    click_id: str | None = None
    export_id: str | None = None
    outcome: Literal["delivered", "refused", "expired"] = "delivered"
    status: int | None = None
    attempts: int = 0
    acceptance_rate: float | None = None


_audits = msgspec.json.Decoder(_Audit)


class OutcomeOfClick:
    """Follows one click through the audit events of its interaction, which come in the order of their topic."""

    def __init__(self, interaction_id: str, click_id: str) -> None:
        self._click_id = click_id
        self._export_id = export_id_of(interaction_id, click_id)
        self._acceptance_rate: float | None = None

    def take(self, record: Record) -> ClickOutcome | None:
        """What became of the click, once a record of `suggestion-audit` tells it; None before."""
        try:
            told = decode(record.value, _audits)
        except MalformedError:
            return None  # Another writer's.
        if told.event == "acceptance_exported" and told.export_id == self._export_id:
            return ClickOutcome(
                click_id=self._click_id,
                outcome=told.outcome,
                status=told.status,
                attempts=told.attempts,
                acceptance_rate=self._acceptance_rate,
            )
        return self._counted(told) if told.click_id == self._click_id else None

    def _counted(self, told: _Audit) -> ClickOutcome | None:
        match told.event:
            case "suggestion_accepted":
                self._acceptance_rate = told.acceptance_rate
                return None
            case "click_repeated":
                return ClickOutcome(click_id=self._click_id, outcome="repeated")
            case "click_refused":
                return ClickOutcome(click_id=self._click_id, outcome="refused")
            case _:
                return None

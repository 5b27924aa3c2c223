"""What simulated agents do with a ranked list: which suggestions they click on, when, and what goes wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal
from uuid import UUID

import msgspec

from bridge.core.times import to_rfc3339

Kind = Literal["good", "repeat", "malformed"]

_AGENTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickMix:
    """What agents do, as shares from 0 to 1.

    `click_share` is of lists. The others are of clicks: on the suggestion at the top, on a second one of the same list
    as well, sent twice under one `clickId`, unreadable, on another partition than the key's, without a `clickId`. A
    click comes `min_delay_s` to `max_delay_s` after its list was seen.
    """

    click_share: float = 0.5
    top_share: float = 0.7
    second_share: float = 0.1
    repeat_share: float = 0.05
    malformed_share: float = 0.02
    misplaced_share: float = 0.03
    without_id_share: float = 0.1
    min_delay_s: float = 0.2
    max_delay_s: float = 1.5


class RankedSuggestion(msgspec.Struct, frozen=True, rename="camel"):
    """What an agent needs of a suggestion; `sent_at` (epoch ms) and `serial` are the simulated Genesys' own."""

    id: str | None = None
    knowledge_article_id: str | None = None
    sent_at: int | None = None
    serial: int | None = None


class RankedList(msgspec.Struct, frozen=True, rename="camel"):
    """What an agent needs of a ranked list."""

    interaction_id: str
    ranked_suggestions: tuple[RankedSuggestion, ...]

    @property
    def clickable(self) -> Sequence[RankedSuggestion]:
        """The suggestions that can be clicked on: those with an id and an article."""
        return [one for one in self.ranked_suggestions if one.id and one.knowledge_article_id]

    @property
    def sent_at_ms(self) -> int | None:
        """When the simulated Genesys made the frame, epoch milliseconds."""
        return next((one.sent_at for one in self.ranked_suggestions if one.sent_at is not None), None)


class PlannedClick(msgspec.Struct, frozen=True, kw_only=True):
    """A click as it will be written, `delay_s` after its list was seen. `is_misplaced`: not on its key's partition."""

    kind: Kind
    delay_s: float
    interaction_id: str
    suggestion_id: str
    article_id: str
    click_id: str | None
    key: bytes
    value: bytes
    is_misplaced: bool = False


def plan_clicks(ranked: RankedList, *, mix: ClickMix, at_ms: int, chance: Random) -> list[PlannedClick]:
    """The clicks on a list that was seen at `at_ms`; often none."""
    clickable = ranked.clickable
    if not clickable or chance.random() >= mix.click_share:
        return []
    taken = [_choose(clickable, mix=mix, chance=chance)]
    others = [one for one in clickable if one is not taken[0]]
    if others and chance.random() < mix.second_share:
        taken.append(chance.choice(others))
    return [
        click
        for suggestion in taken
        for click in _clicks_on(suggestion, ranked.interaction_id, mix=mix, at_ms=at_ms, chance=chance)
    ]


def plan_good_click(ranked: RankedList, *, at_ms: int, chance: Random) -> PlannedClick:
    """A click on a list that has something to click on, at once, with nothing wrong in it."""
    return _good(chance.choice(ranked.clickable), ranked.interaction_id, delay_s=0, at_ms=at_ms, chance=chance)


def malformed(click: PlannedClick, *, chance: Random) -> PlannedClick:
    """The same click, broken in one of the ways in which UIs break it."""
    body: dict[str, Any] = msgspec.json.decode(click.value)
    key = click.key
    match chance.randrange(4):
        case 0:
            value = click.value[:-1]
        case 1:
            value = msgspec.json.encode({name: body[name] for name in body if name != "articleId"})
        case 2:
            value = msgspec.json.encode(body | {"clickedAt": "just now"})
        case _:
            key, value = b"another-" + click.key, click.value
    return msgspec.structs.replace(click, kind="malformed", key=key, value=value, is_misplaced=False)


def _choose(clickable: Sequence[RankedSuggestion], *, mix: ClickMix, chance: Random) -> RankedSuggestion:
    if len(clickable) == 1 or chance.random() < mix.top_share:
        return clickable[0]
    return chance.choice(clickable[1:])


def _clicks_on(
    suggestion: RankedSuggestion, interaction_id: str, *, mix: ClickMix, at_ms: int, chance: Random
) -> list[PlannedClick]:
    delay_s = chance.uniform(mix.min_delay_s, mix.max_delay_s)
    click = _good(suggestion, interaction_id, delay_s=delay_s, at_ms=at_ms, chance=chance)
    if chance.random() < mix.malformed_share:
        return [malformed(click, chance=chance)]
    if chance.random() < mix.misplaced_share:
        return [msgspec.structs.replace(click, is_misplaced=True)]
    if chance.random() < mix.repeat_share:
        return [click, msgspec.structs.replace(click, kind="repeat", delay_s=delay_s + 0.05)]
    if chance.random() < mix.without_id_share:
        return [_without_id(click)]
    return [click]


def _good(
    suggestion: RankedSuggestion, interaction_id: str, *, delay_s: float, at_ms: int, chance: Random
) -> PlannedClick:
    click_id = str(UUID(int=chance.getrandbits(128), version=4))
    body = {
        "interactionId": interaction_id,
        "suggestionId": suggestion.id,
        "articleId": suggestion.knowledge_article_id,
        "clickedAt": to_rfc3339(at_ms + round(delay_s * 1000)),
        "clickId": click_id,
        "agentId": f"agent-{chance.randrange(_AGENTS):02d}",
    }
    return PlannedClick(
        kind="good",
        delay_s=delay_s,
        interaction_id=interaction_id,
        suggestion_id=suggestion.id or "",
        article_id=suggestion.knowledge_article_id or "",
        click_id=click_id,
        key=interaction_id.encode(),
        value=msgspec.json.encode(body),
    )


def _without_id(click: PlannedClick) -> PlannedClick:
    body: dict[str, Any] = msgspec.json.decode(click.value)
    del body["clickId"]
    return msgspec.structs.replace(click, click_id=None, value=msgspec.json.encode(body))

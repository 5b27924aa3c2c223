"""What an interaction was shown and what its agent took: counts, rates, and a bounded memory of what was counted."""

from binascii import b2a_base64
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, ClassVar
from uuid import UUID, uuid5

import msgspec

from bridge.core.errors import MalformedError
from bridge.core.options import Within
from bridge.core.records import Record, header_of, source_of
from bridge.core.times import from_rfc3339, to_rfc3339
from bridge.core.values import Click, ExportBody, Id, check_key, decode, encode

LISTS_KEPT = 32
SHOWN_KEPT = 128
CLICKS_KEPT = 64
# Readers may drop a record whose `ce_id` they saw within this time; later it is a new one.
REPEAT_WITHIN_MS = 30_000
# A broker stamps a record before anybody can see it, and may stand still in between: a click can so be read after lists
# that were appended later. It still sees none of them. A clock that was set back makes greater differences than this.
LATE_MS = 1_000

# The memory is three strings of entries of one width each, so that a record stays small in the topic and in memory:
# a mark, 48 bits of a digest in Base64 (RFC 4648), and for a list when it was counted (hexadecimal milliseconds).
# The marks are in neither alphabet, so a search for mark and digest finds nothing but whole entries.
_SEEN, _TAKEN = ".", "!"
_ENTRY = 9
_LIST_ENTRY = _ENTRY + 11
_LATEST_MS = 16**11 - 1
_DIGEST = "[A-Za-z0-9+/]{8}"
_NOTHING = blake2b(digest_size=6)

# The namespace of click identities (UUIDv5, RFC 9562). Changing it would have every click exported again.
_CLICKS = UUID("8059317f-4969-4c4f-87d4-8b92ea45bfcf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The section `clicks`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    forget_after_s: Annotated[float, Within(1, 10 * 365 * 24 * 60 * 60)] = 7 * 24 * 60 * 60


class Recent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The memory: the last lists with their times, the ids shown last with what was taken of them, the last clicks."""

    lists: Annotated[str, msgspec.Meta(pattern=rf"^(\.{_DIGEST}[0-9a-f]{{11}}){{0,{LISTS_KEPT}}}\Z")] = ""
    shown: Annotated[str, msgspec.Meta(pattern=rf"^([.!]{_DIGEST}){{0,{SHOWN_KEPT}}}\Z")] = ""
    clicks: Annotated[str, msgspec.Meta(pattern=rf"^(\.{_DIGEST}){{0,{CLICKS_KEPT}}}\Z")] = ""


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A value of `interaction-acceptance`. New ones are made by `Acceptance(interaction_id=…)`: nothing shown yet.

    `first_at` and `updated_at` are times of records, so of the brokers' clock.
    """

    interaction_id: Id
    retrieved: int = 0
    accepted: int = 0
    acceptance_rate: float = 0.0
    shown_suggestions: int = 0
    accepted_suggestions: int = 0
    suggestion_acceptance_rate: float = 0.0
    first_at: str = ""
    updated_at: str = ""
    recent: Recent = Recent()

    def with_list(self, identity: bytes, suggestion_ids: Iterable[str], *, at_ms: int) -> "Acceptance | None":
        """This and one list more; None if a list of that identity was counted within 30 s before `at_ms`."""
        digest = _digest(identity)
        counted_at_ms = _counted_at_ms(self.recent.lists, digest)
        if counted_at_ms is not None and at_ms - counted_at_ms <= REPEAT_WITHIN_MS:
            return None
        lists = f"{self.recent.lists}{_SEEN}{digest}{min(max(at_ms, 0), _LATEST_MS):011x}"[-LISTS_KEPT * _LIST_ENTRY :]
        shown, new = _with_shown(self.recent.shown, suggestion_ids)
        return self._counted(
            retrieved=self.retrieved + 1,
            accepted=self.accepted,
            shown=self.shown_suggestions + new,
            taken=self.accepted_suggestions,
            recent=Recent(lists=lists, shown=shown, clicks=self.recent.clicks),
            at_ms=at_ms,
        )

    def with_click(self, identity: str, suggestion_id: str, *, at_ms: int) -> "Counted | None":
        """This and one click more; None if a click of that identity is among the last ones that were counted."""
        click = _SEEN + _digest(identity.encode())
        if click in self.recent.clicks:
            return None
        digest = _digest(suggestion_id.encode())
        shown = self.recent.shown.replace(_SEEN + digest, _TAKEN + digest)
        clicks = (self.recent.clicks + click)[-CLICKS_KEPT * _ENTRY :]
        after = self._counted(
            retrieved=self.retrieved,
            accepted=self.accepted + 1,
            shown=self.shown_suggestions,
            taken=self.accepted_suggestions + (shown != self.recent.shown),
            recent=Recent(lists=self.recent.lists, shown=shown, clicks=clicks),
            at_ms=at_ms,
        )
        return Counted(
            after=after, rate=self._rate_at(at_ms, accepted=after.accepted), matched=self._was_shown(digest, shown)
        )

    def _rate_at(self, at_ms: int, *, accepted: int) -> float:
        """The rate by the lists that were appended up to then; those of the next second may be counted already."""
        retrieved = self.retrieved
        if self.updated_at > to_rfc3339(at_ms):
            retrieved -= sum(at_ms < one <= at_ms + LATE_MS for one in _times(self.recent.lists))
        return accepted / retrieved if retrieved else 0.0

    def _was_shown(self, digest: str, shown: str) -> bool | None:
        if _TAKEN + digest in shown:
            return True
        # More were counted than are remembered: this one may be among those that are not.
        return None if self.shown_suggestions > len(shown) // _ENTRY else False

    def _counted(
        self, *, retrieved: int, accepted: int, shown: int, taken: int, recent: Recent, at_ms: int
    ) -> "Acceptance":
        at = to_rfc3339(at_ms)
        return Acceptance(
            interaction_id=self.interaction_id,
            retrieved=retrieved,
            accepted=accepted,
            acceptance_rate=accepted / retrieved if retrieved else 0.0,
            shown_suggestions=shown,
            accepted_suggestions=taken,
            suggestion_acceptance_rate=taken / shown if shown else 0.0,
            first_at=self.first_at or at,
            # Spelled alike, times compare as text. A clock that was set back does not make an interaction older.
            updated_at=max(self.updated_at, at),
            recent=recent,
        )


class Counted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A click was counted. `rate` is the acceptance rate as of the click, which is what is exported.

    `matched`: whether its suggestion was seen to be shown, None where that is forgotten.
    """

    after: Acceptance
    rate: float
    matched: bool | None


class Tallies:
    """The acceptances of one number, in the order in which they changed; those that stay silent are forgotten.

    Time is that of the youngest counted record, so it follows from the acceptances alone, after a restore too. A step
    costs the same however many there are.
    """

    def __init__(self, options: Options) -> None:
        self._forget_after_ms = round(options.forget_after_s * 1000)
        self._by_id: OrderedDict[str, Acceptance] = OrderedDict()
        self._youngest_at = ""
        self._forget_until = ""

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, interaction_id: str) -> Acceptance | None:
        """What is known of an interaction, or None."""
        return self._by_id.get(interaction_id)

    def of(self, interaction_id: str, *, at_ms: int) -> Acceptance:
        """What is known of an interaction when a record of it is counted at `at_ms`: nothing after a long silence."""
        known = self._by_id.get(interaction_id)
        if known is None or known.updated_at <= max(self._forget_until, to_rfc3339(at_ms - self._forget_after_ms)):
            return Acceptance(interaction_id=interaction_id)
        return known

    def keep(self, acceptance: Acceptance) -> list[str]:
        """Takes in a changed acceptance; returns the interactions that are forgotten now, the longest silent first."""
        self.restore(acceptance)
        forgotten = []
        while self._by_id and (oldest := next(iter(self._by_id.values()))).updated_at <= self._forget_until:
            del self._by_id[oldest.interaction_id]
            forgotten.append(oldest.interaction_id)
        return forgotten

    def restore(self, acceptance: Acceptance) -> None:
        """Takes in an acceptance as it is on the topic."""
        self._by_id[acceptance.interaction_id] = acceptance
        self._by_id.move_to_end(acceptance.interaction_id)
        if acceptance.updated_at > self._youngest_at:
            self._youngest_at = acceptance.updated_at
            self._forget_until = to_rfc3339(from_rfc3339(acceptance.updated_at) - self._forget_after_ms)

    def forget(self, interaction_id: str) -> None:
        """Takes an interaction out, if it is there."""
        self._by_id.pop(interaction_id, None)


_acceptances = msgspec.json.Decoder(Acceptance)


def decode_acceptance(record: Record) -> Acceptance:
    """The acceptance of a state record. Raises MalformedError for what this module did not write."""
    acceptance = decode(record.value, _acceptances)
    check_key(record, acceptance.interaction_id)
    for at in (acceptance.first_at, acceptance.updated_at):
        _check_spelling(at)
    return acceptance


def identity_of_click(click: Click, record: Record) -> str:
    """What names a click within its interaction: `clickId`, else the `ce_id` header, else where the record stands."""
    if click.click_id is not None:
        return click.click_id
    ce_id = header_of(record, "ce_id")
    return ce_id.decode(errors="backslashreplace") if ce_id else source_of(record)


def export_id_of(interaction_id: str, identity: str) -> str:
    """The key of a click's export: UUIDv5 of the JSON array of its interaction and identity, without spaces."""
    return str(uuid5(_CLICKS, msgspec.json.encode((interaction_id, identity)).decode()))


def export_of(click: Click, *, acceptance_rate: float, timestamp_ms: int) -> bytes:
    """The KMP's body for a click; its time is `clickedAt`, else the record's timestamp (epoch milliseconds)."""
    at_ms = timestamp_ms if click.clicked_at is None else from_rfc3339(click.clicked_at)
    return encode(
        ExportBody(
            interaction_id=click.interaction_id,
            accepted_article_id=click.article_id,
            acceptance_rate=acceptance_rate,
            exported_at=to_rfc3339(at_ms),
        )
    )


def _digest(identity: bytes) -> str:
    # A copy takes half the time of a new one.
    hashed = _NOTHING.copy()
    hashed.update(identity)
    return b2a_base64(hashed.digest(), newline=False).decode()


def _counted_at_ms(lists: str, digest: str) -> int | None:
    at = lists.rfind(_SEEN + digest)
    return None if at < 0 else int(lists[at + _ENTRY : at + _LIST_ENTRY], 16)


def _times(lists: str) -> Iterator[int]:
    return (int(lists[at + _ENTRY : at + _LIST_ENTRY], 16) for at in range(0, len(lists), _LIST_ENTRY))


def _with_shown(shown: str, suggestion_ids: Iterable[str]) -> tuple[str, int]:
    """The ids shown last, these last of all, and how many of these are new to it."""
    new = 0
    for suggestion_id in suggestion_ids:
        digest = _digest(suggestion_id.encode())
        at = max(shown.find(_SEEN + digest), shown.find(_TAKEN + digest))
        if at < 0:
            new += 1
            # Cut at once: a list of thousands of ids must not make the search long.
            shown = (shown + _SEEN + digest)[-SHOWN_KEPT * _ENTRY :]
        else:
            shown = shown[:at] + shown[at + _ENTRY :] + shown[at : at + _ENTRY]
    return shown, new


def _check_spelling(at: str) -> None:
    try:
        is_ours = to_rfc3339(from_rfc3339(at)) == at
    except ValueError:
        is_ours = False
    if not is_ours:
        raise MalformedError("schema", "firstAt or updatedAt is not spelled as the bridge spells times")

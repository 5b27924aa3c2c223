from random import Random
from typing import Any

import msgspec

from bridge.simulator.tokens import Tokens
from tests.simulator.speaking import credentials


class Clock:
    """Seconds, set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def tokens_with(clock: Clock) -> Tokens:
    name = credentials()["client_id"]
    return Tokens(client_id=name, client_secret=name, lifetime_s=60, chance=Random(1), elapsed=clock)


def issued(tokens: Tokens) -> dict[str, Any]:
    status, body = tokens.answer(msgspec.json.encode(credentials()))
    assert status == 200
    return body


def test_a_token_is_good_for_its_life_and_no_longer() -> None:
    """T1: tokens expire."""
    clock = Clock()
    tokens = tokens_with(clock)
    token = issued(tokens)
    assert token["expires_in"] == 60

    clock.now_s = 59.9
    assert tokens.is_good(f"Bearer {token['access_token']}")
    clock.now_s = 60
    assert not tokens.is_good(f"Bearer {token['access_token']}")


def test_old_and_new_tokens_are_good_side_by_side_until_all_expire() -> None:
    tokens = tokens_with(Clock())
    both = [issued(tokens)["access_token"] for _ in range(2)]

    assert both[0] != both[1]
    assert all(tokens.is_good(f"bearer {token}") for token in both)
    tokens.expire()
    assert not any(tokens.is_good(f"bearer {token}") for token in both)
    assert tokens.issued == 2


def test_only_a_bearer_token_counts() -> None:
    tokens = tokens_with(Clock())
    token = issued(tokens)["access_token"]

    assert not tokens.is_good("")
    assert not tokens.is_good("Bearer")
    assert not tokens.is_good(f"Basic {token}")

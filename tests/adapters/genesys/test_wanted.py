"""What a socket is to carry, over its connections."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.adapters.genesys.wanted import Carried, Wanted
from bridge.core.values import Subscription


def want(wanted: Wanted, *interaction_ids: str) -> None:
    for one in interaction_ids:
        wanted.add(Subscription(interaction_id=one))


def send(connection: Carried, *, at_most: int = 64) -> tuple[list[str], list[str]]:
    """Sends what must be sent; says what was subscribed and unsubscribed."""
    changes = connection.take_changes(at_most=at_most)
    subscribed = [one.interaction_id for one in changes.subscribe]
    connection.sent(subscribed=subscribed, unsubscribed=changes.unsubscribe)
    return subscribed, list(changes.unsubscribe)


def test_each_connection_is_asked_for_everything() -> None:
    wanted = Wanted()
    want(wanted, "a", "b")
    first, second = wanted.connect(), wanted.connect()
    assert send(first) == (["a", "b"], [])
    assert send(second, at_most=1) == (["a"], [])
    assert (first.has_all, second.has_all, wanted.live) == (True, False, 2)
    assert send(second) == (["b"], [])


def test_changes_go_to_every_connection() -> None:
    wanted = Wanted()
    want(wanted, "a", "b")
    first, second = wanted.connect(), wanted.connect()
    send(first)
    wanted.remove("a")
    want(wanted, "c")
    assert send(first) == (["c"], ["a"])
    assert send(second) == (["b", "c"], [])


def test_what_a_younger_connection_carries_is_not_lost_once_it_is_heard() -> None:
    wanted = Wanted()
    want(wanted, "a", "b")
    first, second = wanted.connect(), wanted.connect()
    send(first)
    send(second, at_most=1)
    second.is_heard = True
    assert wanted.disconnect(first, is_read_up=True) == ["b"]
    assert wanted.disconnect(second, is_read_up=True) == ["a"]


@pytest.mark.parametrize(
    ("is_heard", "is_read_up"),
    [
        pytest.param(False, True, id="what came before Genesys acted on the younger one"),
        pytest.param(True, False, id="what was on its way on the older one"),
    ],
)
def test_what_may_be_missing_is_lost_and_subscribed_once_more(*, is_heard: bool, is_read_up: bool) -> None:
    wanted = Wanted()
    want(wanted, "a", "b")
    first, second = wanted.connect(), wanted.connect()
    send(first)
    send(second)
    second.is_heard = is_heard
    assert sorted(wanted.disconnect(first, is_read_up=is_read_up)) == ["a", "b"]
    subscribed, unsubscribed = send(second)
    assert (sorted(subscribed), unsubscribed) == (["a", "b"], [])


def test_what_an_older_connection_carries_is_not_lost_however_the_younger_one_ends() -> None:
    wanted = Wanted()
    want(wanted, "a")
    first, second = wanted.connect(), wanted.connect()
    send(first)
    send(second)
    assert wanted.disconnect(second, is_read_up=False) == []
    assert send(first) == ([], [])


def test_what_is_on_another_connection_or_written_again_does_not_finish() -> None:
    wanted = Wanted()
    want(wanted, "a", "b", "c")
    first, second = wanted.connect(), wanted.connect()
    send(first)
    send(second, at_most=1)
    want(wanted, "b")
    assert wanted.finish(first) == ["c"]
    assert "b" in wanted
    assert "c" not in wanted


def test_what_ends_while_it_is_sent_is_unsubscribed() -> None:
    wanted = Wanted()
    want(wanted, "a")
    connection = wanted.connect()
    changes = connection.take_changes(at_most=64)
    wanted.remove("a")
    connection.sent(subscribed=[one.interaction_id for one in changes.subscribe], unsubscribed=[])
    assert send(connection) == ([], ["a"])


def test_a_refusal_says_nothing_about_what_is_not_wanted_or_written_again() -> None:
    wanted = Wanted()
    want(wanted, "a", "b")
    first, second = wanted.connect(), wanted.connect()
    send(first)
    send(second)
    want(wanted, "b")
    assert not first.refuse("unknown")
    assert not first.refuse("b")
    assert first.refuse("a")
    assert send(first) == (["b"], [])
    assert send(second) == (["b"], ["a"])


async def test_waits_until_something_is_wanted() -> None:
    wanted = Wanted()
    want(wanted, "a")
    await wanted.until_any()
    wanted.remove("a")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await wanted.until_any()


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "remove", "send 0", "send 1", "swap"]), st.sampled_from("abcd")), max_size=60
    )
)
def test_once_everything_is_sent_each_connection_carries_what_is_wanted(steps: list[tuple[str, str]]) -> None:
    wanted = Wanted()
    connections = [wanted.connect(), wanted.connect()]
    for step, one in steps:
        match step.split():
            case ["add"]:
                want(wanted, one)
            case ["remove"]:
                wanted.remove(one)
            case ["send", number]:
                send(connections[int(number)], at_most=2)
            case _:
                wanted.disconnect(connections.pop(0), is_read_up=one in "ab")
                connections.append(wanted.connect())
    for connection in connections:
        while not connection.has_all:
            send(connection)
        assert {one for one in "abcd" if connection.carries(one)} == {one for one in "abcd" if one in wanted}

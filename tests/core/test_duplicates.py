"""Copies over sockets: the same frame on the same socket is new, on another one within the window it is not."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import duplicates
from bridge.core.dialects.agentassist import Session, Suggestions
from bridge.core.duplicates import Duplicates


def frame(interaction_id: str, text: str = "a") -> bytes:
    return b'{"interactionId":"%b","suggestions":["%b"]}' % (interaction_id.encode(), text.encode())


class Scene:
    """Sockets over one `Duplicates`; the clock is moved by hand."""

    def __init__(self, *, window_s: float = 30) -> None:
        self.now_s = 1000.0
        self.duplicates = Duplicates(window_s=window_s)

    def open(self, *interaction_ids: str, number: int = 0) -> Session:
        """A socket that has subscribed these, and everything that is wanted with them."""
        session = Session()
        self.duplicates.opened(session, number=number)
        self.duplicates.subscribing(interaction_ids, now_s=self.now_s)
        self.duplicates.subscribed_all(number=number, now_s=self.now_s)
        return session

    def is_new(self, on: Session, value: bytes) -> bool:
        received = on.receive(value)
        assert isinstance(received, Suggestions)
        return not self.duplicates.is_copy(received, on=on, now_s=self.now_s)


def test_a_frame_that_comes_again_on_its_own_socket_is_new() -> None:
    scene = Scene()
    socket = scene.open("i-1")
    assert [scene.is_new(socket, frame("i-1")) for _ in range(3)] == [True, True, True]
    assert scene.duplicates.windows == {}


def test_a_frame_that_two_sockets_deliver_is_new_once_whichever_is_first() -> None:
    scene = Scene()
    former, following = scene.open("i-1"), scene.open("i-1")
    assert scene.is_new(former, frame("i-1", "a"))
    assert not scene.is_new(following, frame("i-1", "a"))
    assert scene.is_new(following, frame("i-1", "b"))
    assert not scene.is_new(former, frame("i-1", "b"))


def test_a_copy_is_one_for_each_earlier_copy() -> None:
    scene = Scene()
    former, following = scene.open("i-1"), scene.open("i-1")
    assert [scene.is_new(former, frame("i-1")) for _ in range(2)] == [True, True]
    assert [scene.is_new(following, frame("i-1")) for _ in range(3)] == [False, False, True]


def test_what_a_lost_socket_delivered_is_a_copy_on_the_next_one() -> None:
    scene = Scene()
    former = scene.open("i-1")
    assert scene.is_new(former, frame("i-1"))
    scene.duplicates.closed(former)
    scene.now_s += 600  # An outage: what was delivered before it does not get old meanwhile.
    scene.duplicates.tidy(now_s=scene.now_s)
    following = scene.open("i-1")
    assert not scene.is_new(following, frame("i-1"))


def test_after_the_window_it_is_new() -> None:
    scene = Scene()
    former, following = scene.open("i-1"), scene.open("i-1")
    assert scene.is_new(former, frame("i-1"))
    scene.now_s += 29.9
    assert not scene.is_new(following, frame("i-1"))
    scene.now_s += 0.1
    assert scene.is_new(following, frame("i-1"))


def test_the_window_is_that_of_the_interaction() -> None:
    scene = Scene()
    former, following = scene.open("i-1"), scene.open()
    assert all(scene.is_new(former, frame(one)) for one in ("i-1", "i-2"))
    scene.duplicates.subscribing(["i-2"], now_s=scene.now_s)
    assert scene.is_new(following, frame("i-1"))
    assert not scene.is_new(following, frame("i-2"))


def test_a_window_begins_anew_with_a_new_subscription() -> None:
    scene = Scene()
    former, following = scene.open("i-1", "i-2"), scene.open("i-1", "i-2")
    scene.now_s += 20
    scene.duplicates.subscribing(["i-1"], now_s=scene.now_s)
    scene.now_s += 20
    scene.duplicates.tidy(now_s=scene.now_s)
    assert list(scene.duplicates.windows) == ["i-1"]
    assert scene.is_new(former, frame("i-1"))
    assert not scene.is_new(following, frame("i-1"))


def test_sockets_of_other_numbers_count_too() -> None:
    scene = Scene()
    one, other = scene.open("i-1", number=0), scene.open("i-2", number=1)
    assert scene.is_new(one, frame("i-1"))
    scene.duplicates.subscribing(["i-1"], now_s=scene.now_s)
    assert not scene.is_new(other, frame("i-1"))


def test_with_no_window_nothing_is_a_copy() -> None:
    scene = Scene(window_s=0)
    former, following = scene.open("i-1"), scene.open("i-1")
    assert scene.is_new(former, frame("i-1"))
    assert scene.is_new(following, frame("i-1"))
    assert scene.duplicates.windows == {}


def remembered(scene: Scene) -> int:
    """How many sockets that are gone are remembered: while there is one, a subscription opens a window."""
    return len(scene.duplicates._gone)


def test_a_socket_that_is_gone_is_forgotten_once_the_next_one_has_been_subscribed_for_the_window() -> None:
    scene = Scene()
    former = scene.open("i-1")
    following = scene.open("i-1")
    scene.duplicates.closed(former)
    scene.now_s += 29
    scene.duplicates.tidy(now_s=scene.now_s)
    assert remembered(scene) == 1
    scene.now_s += 1
    scene.duplicates.tidy(now_s=scene.now_s)
    assert remembered(scene) == 0
    assert scene.duplicates.windows == {}
    scene.duplicates.subscribing(["i-2"], now_s=scene.now_s)
    assert scene.duplicates.windows == {}
    assert scene.is_new(following, frame("i-1"))


def test_at_most_one_socket_that_is_gone_is_remembered_for_each_number() -> None:
    scene = Scene()
    for _ in range(5):
        scene.duplicates.closed(scene.open("i-1"))
        scene.duplicates.closed(scene.open("i-1", number=1))
    scene.now_s += 3600
    scene.duplicates.tidy(now_s=scene.now_s)
    assert remembered(scene) == 2


def test_while_one_that_took_over_dies_the_former_one_goes_on() -> None:
    scene = Scene()
    former, following = scene.open("i-1"), scene.open("i-1")
    assert scene.is_new(following, frame("i-1"))
    scene.duplicates.closed(following)
    assert not scene.is_new(former, frame("i-1"))
    assert scene.is_new(former, frame("i-1"))


def test_windows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_MAX_WINDOWS", 3)
    scene = Scene()
    scene.open()
    scene.open(*(f"i-{number}" for number in range(10)))
    assert list(scene.duplicates.windows) == ["i-0", "i-1", "i-2"]


@given(
    deliveries=st.lists(
        st.tuples(st.sampled_from([0, 1]), st.sampled_from(["i-1", "i-2"]), st.sampled_from("ab")), max_size=60
    )
)
def test_in_the_window_each_frame_is_new_as_often_as_the_socket_that_has_it_most(
    deliveries: list[tuple[int, str, str]],
) -> None:
    scene = Scene()
    sockets = [scene.open("i-1", "i-2"), scene.open("i-1", "i-2")]
    new: Counter[bytes] = Counter()
    delivered = [Counter[bytes](), Counter[bytes]()]
    for number, interaction_id, text in deliveries:
        value = frame(interaction_id, text)
        delivered[number][value] += 1
        new[value] += scene.is_new(sockets[number], value)
    assert +new == delivered[0] | delivered[1]


@given(
    deliveries=st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from("ab"), st.floats(0, 40)), max_size=40),
    window_s=st.sampled_from([0.0, 30.0]),
)
def test_outside_of_windows_and_on_one_socket_nothing_is_lost(
    deliveries: list[tuple[int, str, float]], window_s: float
) -> None:
    """At least as many are new as the socket that has the frame most often delivered."""
    scene = Scene(window_s=window_s)
    sockets = [scene.open("i-1", number=number) for number in range(3)]
    new: Counter[bytes] = Counter()
    delivered = [Counter[bytes]() for _ in sockets]
    for number, text, wait_s in deliveries:
        scene.now_s += wait_s
        scene.duplicates.tidy(now_s=scene.now_s)
        value = frame("i-1", text)
        delivered[number][value] += 1
        new[value] += scene.is_new(sockets[number], value)
    assert all(new[value] >= max(counts[value] for counts in delivered) for value in new)
    if not window_s:
        assert new.total() == len(deliveries)

import json

import pytest

from bridge.simulator.requests import ErrorFrame, Subscribe, Unsubscribe, decode_request, subscribed, unsubscribed
from tests.simulator.speaking import WINDOW

SUBSCRIBE = {
    "type": "subscribe",
    "interactionId": "i-1",
    "contextWindow": WINDOW,
    "suggestionTypes": ["knowledge"],
    "requestId": "r-1",
}


def test_takes_a_subscription_and_answers_it() -> None:
    request = decode_request(json.dumps(SUBSCRIBE).encode())

    assert isinstance(request, Subscribe)
    assert json.loads(subscribed(request)) == {"type": "subscribed", "interactionId": "i-1", "requestId": "r-1"}


def test_takes_the_end_of_one_and_answers_it() -> None:
    request = decode_request(b'{"type":"unsubscribe","interactionId":"i-1","requestId":"r-2"}')

    assert isinstance(request, Unsubscribe)
    assert json.loads(unsubscribed(request)) == {"type": "unsubscribed", "interactionId": "i-1", "requestId": "r-2"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "ping"},
        {"contextWindow": None},
        {"contextWindow": {"start": "yesterday", "end": "today"}},
        {"contextWindow": {"start": WINDOW["end"], "end": WINDOW["start"]}},
        {"suggestionTypes": "knowledge"},
        {"priority": 1},
    ],
)
def test_takes_requests_to_the_letter(wrong: dict[str, object]) -> None:
    answer = decode_request(json.dumps(SUBSCRIBE | wrong).encode())

    assert isinstance(answer, ErrorFrame)
    assert (answer.code, answer.request_id, answer.interaction_id) == ("invalid_request", "r-1", "i-1")


@pytest.mark.parametrize("text", [b"", b"hello", b"\xff\xfe"])
def test_says_that_it_wants_json(text: bytes) -> None:
    answer = decode_request(text)

    assert isinstance(answer, ErrorFrame)
    assert answer.code == "invalid_json"


@pytest.mark.parametrize("text", [b"[]", b'{"type":"subscribe","interactionId":7}'])
def test_an_error_names_nothing_where_nothing_can_be_read(text: bytes) -> None:
    answer = decode_request(text)

    assert isinstance(answer, ErrorFrame)
    assert answer.interaction_id is None

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.script import (
    Answer,
    Burst,
    CloseSockets,
    Garbage,
    Gzip,
    SendFrame,
    decode_script,
    later,
    split_due,
)


def test_reads_a_script_from_json() -> None:
    text = (
        b'[{"fault":"close_sockets","name":"away","at_s":3,"code":1001},'
        b'{"fault":"answer","name":"busy","at_s":4.5,"where":"post","status":503,"retry_after":"2","for_s":3}]'
    )

    assert decode_script(text) == [
        CloseSockets(name="away", at_s=3, code=1001),
        Answer(name="busy", at_s=4.5, where="post", status=503, retry_after="2", for_s=3),
    ]


def test_reads_a_single_fault() -> None:
    assert decode_script(b'{"fault":"burst","name":"flood","frames":500}') == [Burst(name="flood", frames=500)]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"fault":"earthquake","name":"x"}',
        b'{"fault":"burst","frames":1}',
        b'{"fault":"burst","name":"x","frames":0}',
        b'{"fault":"burst","name":"x","frames":1,"fames":2}',
        b'{"fault":"answer","name":"x","status":503,"for_s":1,"count":1}',
        b'{"fault":"gzip","name":"x","for_s":1,"frames":1}',
        b'{"fault":"be_slow","name":"x","delay_s":1,"for_s":1,"count":1}',
        b'{"fault":"be_slow","name":"x","delay_s":1}',
    ],
)
def test_says_what_is_wrong_with_a_script(text: bytes) -> None:
    with pytest.raises(ValueError, match="no script of faults"):
        decode_script(text)


def test_writes_the_json_that_it_reads() -> None:
    script = [SendFrame(name="bytes", body_binary=b"\xff\x00", times=2), Gzip(name="z", frames=3)]

    assert decode_script(msgspec.json.encode(script)) == script


def test_moves_a_script_in_time() -> None:
    assert later([Garbage(name="g", at_s=1)], by_s=4) == [Garbage(name="g", at_s=5)]


@given(st.lists(st.floats(0, 100)), st.floats(0, 100))
def test_every_fault_is_due_once_and_in_the_order_of_its_time(times: list[float], now_s: float) -> None:
    script = [Burst(name=str(number), at_s=at_s, frames=1) for number, at_s in enumerate(times)]

    due, rest = split_due(script, now_s=now_s)

    assert all(fault.at_s <= now_s for fault in due)
    assert all(fault.at_s > now_s for fault in rest)
    assert [fault.at_s for fault in [*due, *rest]] == sorted(times)
    assert {fault.name for fault in [*due, *rest]} == {fault.name for fault in script}

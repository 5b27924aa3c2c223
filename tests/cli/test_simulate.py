"""`bridge simulate`."""

import signal
from pathlib import Path

import httpx
import pytest

from tests.cli.processes import Ended, bridge, code_of, line_from, started


@pytest.mark.parametrize(("name", "told"), [("genesys", "Genesys at http://"), ("kmp", "KMP at http://")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_prints_one_line_with_its_address_and_serves_until_it_is_stopped(
    name: str, told: str, number: signal.Signals
) -> None:
    async with started("simulate", name) as simulator:
        line = await line_from(simulator)
        assert line.startswith(told)
        host = line.partition("http://")[2].partition("/")[0]
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://{host}/simulator/state")).status_code == 200
        simulator.send_signal(number)
        assert await code_of(simulator) == 0
        assert simulator.stderr is not None
        assert await simulator.stderr.read() == b""


async def test_takes_a_script_of_faults(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('[{"fault": "answer", "name": "down", "status": 503, "for_s": 60}]')
    async with started("simulate", "kmp", "--script", str(script)) as simulator:
        endpoint = (await line_from(simulator)).removeprefix("KMP at ")
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(endpoint, content=b"{}")).status_code == 503


@pytest.mark.parametrize("text", ["{", '[{"fault": "nothing"}]', '[{"fault": "close_sockets", "name": "of Genesys"}]'])
def test_a_script_that_cannot_be_used_is_a_line(tmp_path: Path, text: str) -> None:
    script = tmp_path / "script.json"
    script.write_text(text)
    _is_one_line(bridge("simulate", "kmp", "--script", str(script)))


def test_a_script_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    _is_one_line(bridge("simulate", "kmp", "--script", str(tmp_path / "none.json")))


async def test_an_address_in_use_is_a_line() -> None:
    async with started("simulate", "kmp") as first:
        port = (await line_from(first)).partition("http://127.0.0.1:")[2].partition("/")[0]
        _is_one_line(bridge("simulate", "kmp", "--port", port))


def test_agents_without_kafka_are_a_line() -> None:
    done = bridge("--set", "kafka.bootstrap_servers=127.0.0.1:1", "simulate", "agents")
    _is_one_line(done)
    assert "127.0.0.1:1" in done.stderr


def _is_one_line(done: Ended) -> None:
    assert done.code == 1
    assert len(done.stderr.splitlines()) == 1

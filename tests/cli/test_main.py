"""The command line as a whole: options before the command, faults as lines, never a traceback."""

from pathlib import Path

import pytest

from tests.cli.processes import bridge


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    done = bridge("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    assert "subscribe" in done.stdout
    heavy = {"aiokafka", "pydantic", "httpx", "starlette", "uvicorn", "structlog", "websockets"}
    assert heavy.isdisjoint(line.rpartition("|")[2].strip() for line in done.stderr.splitlines())


@pytest.mark.parametrize("command", ["run", "check", "topics", "subscribe", "unsubscribe", "tail", "simulate"])
def test_every_command_has_its_help(command: str) -> None:
    assert bridge(command, "--help").code == 0


def test_bad_options_are_lines_and_exit_78(tmp_path: Path) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text("[kafka]\nprefx = 'a'\n")
    done = bridge("--config", str(config), "run", "ranker", BRIDGE_TOPICS__PARTITIONS="0")
    assert done.code == 78
    assert done.stderr.splitlines() == [
        "kafka.prefx: is no option; did you mean prefix?",
        'topics.partitions: must be from 1 to 10000, got "0"',
    ]
    assert done.stdout == ""


def test_the_configuration_can_be_named_in_the_environment(tmp_path: Path) -> None:
    done = bridge("tail", "any", BRIDGE_CONFIG=str(tmp_path / "none.toml"))
    assert done.code == 78
    assert "there is no such file" in done.stderr


@pytest.mark.parametrize("workers", [["all"], ["ingress", "ranker"]])
def test_a_worker_without_its_options_does_not_start(workers: list[str]) -> None:
    done = bridge("run", *workers)
    assert done.code == 78
    assert "genesys.base_url: must be set" in done.stderr.splitlines()


def test_a_worker_does_not_need_the_options_of_others() -> None:
    done = bridge(
        "--set", "kafka.bootstrap_servers=127.0.0.1:1", "--set", "run.start_timeout_s=0.1", "--set", "http.port=0",
        "run", "ranker",
    )  # fmt: skip
    assert done.code == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["topics", "apply"], ["topics", "apply", "--json"], ["tail", "raw-suggestions"], ["subscribe", "a"]],
)
def test_a_kafka_that_is_away_is_one_line_that_says_where(arguments: list[str]) -> None:
    done = bridge("--set", "kafka.bootstrap_servers=127.0.0.1:1", *arguments)
    assert done.code == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Kafka at 127.0.0.1:1: ")


def test_an_unknown_worker_is_a_usage_error() -> None:
    assert bridge("run", "rancor").code == 2

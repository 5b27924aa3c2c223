"""docker-compose.yml, its env file and docs/deploying.md say what the code says."""

import os
import re
from pathlib import Path

import pytest

from bridge.app import WORKERS
from bridge.settings import SECTIONS, Settings, load, required_for

_ROOT = Path(__file__).parent.parent
_COMPOSE = (_ROOT / "docker-compose.yml").read_text(encoding="utf-8")
_ENV = (_ROOT / "config" / "simulators.env").read_text(encoding="utf-8")
_DEPLOYING = (_ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
_PROMETHEUS = (_ROOT / "config" / "prometheus.yml").read_text(encoding="utf-8")
_OPTION = re.compile(r"\bBRIDGE_([A-Z]+)__([A-Z_]+)\b")
_VARIABLE = re.compile(r"\$\{([A-Z_]+):-")


def _services() -> dict[str, str]:
    """The text of each service, by its name."""
    text = _COMPOSE.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    parts = re.split(r"^  (\w+):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _environment() -> dict[str, str]:
    return dict(line.split("=", 1) for line in _ENV.splitlines() if not line.startswith("#"))


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The options of a worker that compose starts with the simulators."""
    for name in os.environ:
        if name.startswith("BRIDGE_"):
            monkeypatch.delenv(name)
    for name, value in _environment().items():
        monkeypatch.setenv(name, value)
    return load(_ROOT / "config" / "compose.toml")


def test_each_worker_is_a_service() -> None:
    services = _services()
    for worker in WORKERS:
        assert f'command: ["run", "{worker}"]' in services[worker]
        assert "profiles:" not in services[worker]


@pytest.mark.parametrize("simulator", ["genesys", "kmp", "agents"])
def test_each_simulator_is_a_service_of_its_profile(simulator: str) -> None:
    service = _services()[simulator]
    assert f'command: ["simulate", "{simulator}", "--host", "0.0.0.0", "--port", "8080"]' in service
    assert "profiles: [simulators]" in service


def test_with_the_simulators_no_worker_lacks_an_option(settings: Settings) -> None:
    assert required_for(settings, WORKERS) == []


def test_the_options_lead_to_the_services(settings: Settings) -> None:
    services = _services()
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert "PLAINTEXT://kafka:9092" in services["kafka"]
    assert (settings.genesys.base_url, settings.kmp.endpoint) == ("http://genesys:8080", "http://kmp:8080/api/v1/sync")


def test_health_is_asked_where_it_is_served(settings: Settings) -> None:
    assert settings.http.host == "0.0.0.0"  # noqa: S104 - inside the container
    assert f"http://127.0.0.1:{settings.http.port}/livez" in _COMPOSE
    for worker in WORKERS:
        assert re.search(rf'"127\.0\.0\.1:\$\{{\w+:-\d+\}}:{settings.http.port}"', _services()[worker])


def test_a_stop_has_time_to_drain(settings: Settings) -> None:
    grace = re.search(r"stop_grace_period: (\d+)s", _COMPOSE)
    assert grace is not None
    assert int(grace[1]) >= settings.run.drain_timeout_s + 10


def test_nothing_is_published_beyond_the_host() -> None:
    published = re.findall(r'^      - "(.+:\d+)"$', _COMPOSE, flags=re.MULTILINE)
    assert len(published) == len(_services()) - 1  # All but `topics`.
    assert all(one.startswith("127.0.0.1:") for one in published)


def test_kafka_keeps_its_records_in_its_volume() -> None:
    kafka = _services()["kafka"]
    assert "KAFKA_LOG_DIRS: /var/lib/kafka/data" in kafka
    assert "kafka:/var/lib/kafka/data" in kafka


def test_prometheus_asks_every_worker(settings: Settings) -> None:
    assert f"names: [{', '.join(WORKERS)}]" in _PROMETHEUS
    assert f"port: {settings.http.port}" in _PROMETHEUS
    assert "profiles: [watch]" in _services()["prometheus"]


@pytest.mark.parametrize("text", [_COMPOSE, _ENV, _DEPLOYING], ids=["compose", "env", "docs"])
def test_every_variable_of_an_option_is_one(text: str) -> None:
    for section, option in set(_OPTION.findall(text)) - {("SECTION", "KEY")}:
        assert option.lower() in SECTIONS[section.lower()].__dataclass_fields__


def test_every_variable_of_the_compose_file_is_documented() -> None:
    for variable in _VARIABLE.findall(_COMPOSE):
        assert f"{variable}=" in _DEPLOYING or f"`{variable}`" in _DEPLOYING, variable


def test_secrets_in_the_docs_are_secrets_of_the_code() -> None:
    named = set(re.findall(r"^\| `([a-z]+__[a-z_]+)` \|", _DEPLOYING, flags=re.MULTILINE))
    secrets = {
        f"{section}__{name}"
        for section, options in SECTIONS.items()
        for name, option in options.__dataclass_fields__.items()
        if not option.repr
    }
    assert named == secrets


def test_the_image_gets_only_what_it_is_built_from() -> None:
    ignored = (_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    dockerfile = (_ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, flags=re.MULTILINE)
        for name in line.split()
    }
    assert ignored[0] == "*"
    assert kept == copied

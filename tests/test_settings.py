"""Options: where they come from, in which order, and what is said about those that cannot be used."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.adapters.genesys.options import Options as GenesysOptions
from bridge.adapters.kmp import Options as KmpOptions
from bridge.settings import SECTIONS, Settings, SettingsError, load, required_for, secrets_in

_SECRET = "hush"  # noqa: S105 - the secret that must not be seen
_GENESYS = GenesysOptions(
    base_url="https://api.example.test", client_id="client", client_secret=_SECRET, content_library_id="library"
)

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The options of whoever runs the tests are not theirs."""
    for name in os.environ:
        if name.startswith("BRIDGE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a TOML file and returns its path."""

    def file(text: str) -> Path:
        path = tmp_path / "bridge.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return file


def _faults(config: Path | None = None, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(config, overrides=overrides)
    return caught.value.faults


def test_without_any_source_the_defaults_stand() -> None:
    assert load() == Settings()


def test_each_source_goes_before_the_next(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write('[kafka]\nprefix = "file"\nsasl_username = "file"\nssl_cafile = ""\nstart_from = "latest"')
    (tmp_path / "secrets").mkdir()
    for option in ("prefix", "sasl_username"):
        (tmp_path / "secrets" / f"kafka__{option}").write_text("secrets\n")
    (tmp_path / "secrets" / "kafka__raw_compression").write_text("gzip")
    monkeypatch.setenv("BRIDGE_SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.setenv("BRIDGE_KAFKA__PREFIX", "environment")
    monkeypatch.setenv("BRIDGE_KAFKA__RAW_COMPRESSION", "snappy")
    kafka = load(file, overrides=["kafka.raw_compression=none"]).kafka
    assert kafka.raw_compression == "none"
    assert kafka.prefix == "environment"
    assert kafka.sasl_username == "secrets"
    assert kafka.start_from == "latest"
    assert kafka.session_timeout_ms == 30_000


def test_the_file_can_be_named_in_the_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_CONFIG", str(write("[topics]\npartitions = 3")))
    assert load().topics.partitions == 3


def test_lists_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_INGRESS__INTERACTIONS", '["a", "b"]')
    monkeypatch.setenv("BRIDGE_KMP__RETRY_STATUSES", "[503]")
    settings = load()
    assert settings.ingress.interactions == ("a", "b")
    assert settings.kmp.retry_statuses == (503,)


def test_a_name_without_two_underscores_is_no_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BRIDGE_KAFKA", "BRIDGE_HTTP_PORT", "BRIDGE_TEST_BROKER"):
        monkeypatch.setenv(name, "tcp://10.0.0.1:80")
    (tmp_path / "kafka").write_text("what else a directory of secrets may hold")
    monkeypatch.setenv("BRIDGE_SECRETS_DIR", str(tmp_path))
    assert load() == Settings()


def test_every_fault_is_told_at_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write('[kafka]\nprefx = "a"\nsession_timeout_ms = 1\n[ranking]\nmin_confidence = "high"\n[kafkas]\n')
    monkeypatch.setenv("BRIDGE_TOPICS__PARTITIONS", "many")
    monkeypatch.setenv("BRIDGE_INGRESS__OVERFLOW", "drop")
    monkeypatch.setenv("BRIDGE_INGRESS__INTERACTIONS", "a, b")
    monkeypatch.setenv("BRIDGE_HTTPS__PORT", "80")
    monkeypatch.setenv("BRIDGE_HTTP__PROT", "80")
    monkeypatch.setenv("BRIDGE_KMP__ALLOW_PLAINTEXT", "perhaps")
    assert sorted(_faults(file, "log.level=loud")) == [
        "http.prot: is no option; did you mean port?",
        "https: is no section; did you mean http?",
        'ingress.interactions: must be a list, got "a, b"',
        'ingress.overflow: must be one of write, shed, block, got "drop"',
        "kafka.prefx: is no option; did you mean prefix?",
        "kafka.session_timeout_ms: must be from 1000 to 300000, got 1",
        "kafkas: is no section; did you mean kafka?",
        'kmp.allow_plaintext: must be true or false, got "perhaps"',
        'log.level: must be one of debug, info, warning, error, got "loud"',
        'ranking.min_confidence: must be a number, got "high"',
        'topics.partitions: must be a whole number, got "many"',
    ]


def test_a_section_that_is_no_table_is_a_fault(write: Write) -> None:
    assert _faults(write("kafka = 1")) == ("kafka: must be a table of options, got 1",)


def test_a_number_that_is_none_is_out_of_range() -> None:
    assert _faults(None, "ranking.min_confidence=nan") == ('ranking.min_confidence: must be from 0 to 1, got "nan"',)


@pytest.mark.parametrize("override", ["kafka", "kafka=1", "=1", "kafka.=1", "a.b.c=1"])
def test_an_override_without_an_option_is_a_fault(override: str) -> None:
    assert len(_faults(None, override)) == 1


def test_a_secret_is_never_shown(write: Write) -> None:
    file = write("[genesys]\nclient_secret = 12345\n[kmp]\nbearer_token = 12345\n[kafka]\nsasl_password = 12345")
    assert sorted(_faults(file)) == [
        "genesys.client_secret: must be text, got ***",
        "kafka.sasl_password: must be text, got ***",
        "kmp.bearer_token: must be text, got ***",
    ]


def test_a_password_in_an_address_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_KMP__RETRY_STATUSES", "https://user:hush@kmp.example.test")
    assert _faults() == ('kmp.retry_statuses: must be a list, got "https://***@kmp.example.test"',)


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert _faults(tmp_path / "none.toml") == (f"{tmp_path / 'none.toml'}: there is no such file",)


def test_a_file_that_is_no_toml_is_a_fault(write: Write) -> None:
    (fault,) = _faults(write("[kafka\n"))
    assert "is no TOML" in fault


def test_a_directory_of_secrets_that_is_not_there_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRETS_DIR", str(tmp_path / "none"))
    (fault,) = _faults()
    assert fault.startswith(f"{tmp_path / 'none'}: cannot be read")


def test_a_secret_that_is_no_text_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "genesys__client_secret").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("BRIDGE_SECRETS_DIR", str(tmp_path))
    (fault,) = _faults()
    assert "cannot be read" in fault


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("kafka.heartbeat_interval_ms=20000", "kafka.heartbeat_interval_ms: must not be above a third of"),
        ("kafka.bootstrap_servers=localhost", "kafka.bootstrap_servers: must be HOST:PORT"),
        ("kafka.security_protocol=SASL_SSL", "kafka.sasl_username: must be set"),
        ("kafka.ssl_cafile=/nowhere.pem", "kafka.ssl_cafile: must be a file"),
        (
            "kafka.stuck_after_s=30",
            "kafka.stuck_after_s: must be above kafka.rebalance_timeout_ms (30000), got 30",
        ),
        (
            "kafka.transaction_timeout_ms=60000",
            "kafka.stuck_after_s: must be above kafka.transaction_timeout_ms (60000), got 60",
        ),
        ("kafka.rebalance_timeout_ms=5000", "kmp.timeout_s: must be below kafka.rebalance_timeout_ms (5000), got 5"),
        ("kmp.backoff_first_s=60", "kmp.backoff_first_s: must not be above kmp.backoff_cap_s (30)"),
        ("genesys.reconnect_first_s=60", "genesys.reconnect_first_s: must not be above genesys.reconnect_cap_s (30)"),
        ("valve.reopen_at_records=9000", "valve.reopen_at_records: must not be above close_above_records"),
        ("topics.dlq_clicks=dlq.ranker", "topics.dlq_clicks: must not be the same as topics.dlq_ranker"),
        ("topics.dlq_clicks=dlq clicks", "topics.dlq_clicks: must be 1 to 249 letters"),
    ],
)
def test_options_that_contradict_each_other_are_faults(override: str, fault: str) -> None:
    assert _faults(None, override)[0].startswith(fault)


def test_two_weights_of_zero_are_a_fault() -> None:
    faults = _faults(None, "ranking.relevance_weight=0", "ranking.confidence_weight=0")
    assert faults == ("ranking.relevance_weight: must not be 0 while ranking.confidence_weight is 0",)


@pytest.mark.parametrize("servers", ["a:1", "a:1,b:2", "a:1, b:2", "[::1]:9092", "10.0.0.1:9092"])
def test_brokers_are_hosts_and_ports(servers: str) -> None:
    assert load(overrides=[f"kafka.bootstrap_servers={servers}"]).kafka.bootstrap_servers == servers


@pytest.mark.parametrize("workers", [[], ["ranker"], ["tally"], ["ranker", "tally"]])
def test_a_worker_needs_only_its_own_options(workers: list[str]) -> None:
    assert required_for(Settings(), workers) == []


def test_ingress_needs_what_has_no_default() -> None:
    assert required_for(Settings(), ["ingress"]) == [
        "genesys.base_url: must be set",
        "genesys.client_id: must be set",
        "genesys.client_secret: must be set",
        "genesys.content_library_id: must be set",
    ]


def test_the_exporter_needs_an_endpoint() -> None:
    assert required_for(Settings(), ["exporter"]) == ["kmp.endpoint: must be an http or https address"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8081", "[::1]:8081"])
def test_plaintext_is_taken_on_loopback(host: str) -> None:
    settings = Settings(
        genesys=replace(_GENESYS, base_url=f"http://{host}"), kmp=KmpOptions(endpoint=f"http://{host}/")
    )
    assert required_for(settings, ["ingress", "exporter"]) == []


def test_plaintext_elsewhere_is_refused() -> None:
    """It would carry the client's secret and the tokens."""
    settings = Settings(
        genesys=replace(_GENESYS, base_url="http://api.example.test"),
        kmp=KmpOptions(endpoint="http://kmp.example.test"),
    )
    assert required_for(settings, ["ingress", "exporter"]) == [
        "genesys.base_url: must be https unless genesys.allow_plaintext is set, got http://api.example.test",
        "kmp.endpoint: must be https unless kmp.allow_plaintext is set, got http://kmp.example.test",
    ]


def test_plaintext_elsewhere_is_taken_where_it_is_allowed() -> None:
    settings = Settings(
        genesys=replace(_GENESYS, base_url="http://api.example.test", allow_plaintext=True),
        kmp=KmpOptions(endpoint="http://kmp.example.test", allow_plaintext=True),
    )
    assert required_for(settings, ["ingress", "exporter"]) == []


@pytest.mark.parametrize("address", ["api.example.test", "ftp://a.test", "https://", "https://[a", "https://a.test:x"])
def test_what_is_no_address_is_a_fault(address: str) -> None:
    settings = Settings(genesys=replace(_GENESYS, base_url=address), kmp=KmpOptions(endpoint=address))
    faults = required_for(settings, ["ingress", "exporter"])
    assert [fault.split(":")[0] for fault in faults] == ["genesys.base_url", "kmp.endpoint"]


def test_a_user_in_the_address_is_refused_and_not_shown() -> None:
    settings = Settings(genesys=replace(_GENESYS, base_url="https://me:hush@api.example.test"))
    (fault,) = required_for(settings, ["ingress"])
    assert "without user" in fault
    assert "hush" not in fault


def test_secrets_are_known_and_not_in_the_repr() -> None:
    settings = load(overrides=["kafka.sasl_password=hush-1", "genesys.client_secret=hush-2", "kmp.bearer_token=hush-3"])
    assert secrets_in(settings) == ["hush-1", "hush-2", "hush-3"]
    assert "hush" not in repr(settings)


def test_sections_are_those_of_the_settings() -> None:
    assert list(SECTIONS) == [
        "kafka",
        "topics",
        "genesys",
        "ingress",
        "valve",
        "ranking",
        "clicks",
        "kmp",
        "dlq",
        "http",
        "log",
        "run",
    ]

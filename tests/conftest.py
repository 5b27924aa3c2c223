"""What all tests share: one broker for the run, and topics of its own for each test that asks."""

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import broker

# How long an example takes says more of the machine than of the code: no test has a time limit but to end at all.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_prefixes = itertools.count()


@pytest.fixture(scope="session")
def bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One broker for the whole run: Apache Kafka, or the embedded one."""
    with broker.running(tmp_path_factory.mktemp("broker")) as servers:
        yield servers


@pytest.fixture
def prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test has."""
    return f"t{os.getpid()}-{next(_prefixes)}-"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Three brokers are started only where they are asked for: `-m cluster`, which is `make test-cluster`.

    Tests that need Apache Kafka itself are skipped where another broker serves; in CI a skip is a failure.
    """
    if "cluster" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("cluster")]
        items[:] = [item for item in items if not item.get_closest_marker("cluster")]
        config.hook.pytest_deselected(items=left_out)
    if broker.choice() == "embedded":
        reason = "needs Apache Kafka (Java 17 and Maven): the embedded broker has no transaction timeout and no restart"
        for item in items:
            if item.get_closest_marker("kafka"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With the broker forced to be Kafka (`.ci/run`), a skipped test fails the run."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if os.environ.get("BRIDGE_TEST_BROKER") == "kafka" and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

"""Starts that cannot be: one line that says what to do, the exit code that says whose it is, never a traceback.

A worker that has not started has written nothing, so there are no books to look at but where one did start.
"""

import pytest

from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.script import Answer
from tests.cli.processes import Ended, bridge_beside
from tests.e2e.processes import environment_of, genesys_environment, running, stop_all
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_verified

pytestmark = pytest.mark.e2e

_NOWHERE = "127.0.0.1:1"


async def _run(worker: str, cluster: Cluster, **more: str) -> Ended:
    return await bridge_beside("run", worker, **environment_of(cluster, RUN__START_TIMEOUT_S="3", **more))


def _told(done: Ended) -> list[str]:
    """What it said beside its events."""
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if not line.startswith("{")]


@pytest.mark.broker
async def test_missing_topics_end_it_with_78_and_say_what_to_run(bootstrap_servers: str, prefix: str) -> None:
    done = await _run("ranker", Cluster(bootstrap_servers, prefix))
    assert done.code == 78
    lines = _told(done)
    assert lines[0].startswith("topic ")
    assert f"topic {prefix}raw-suggestions does not exist" in " ".join(lines)
    assert "run `bridge topics apply`" in lines[-1]


@pytest.mark.broker
async def test_a_topic_with_other_partitions_than_the_rest_ends_it_with_78(bootstrap_servers: str, prefix: str) -> None:
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    await cluster.add_partitions(cluster.topics.suggestion_clicks, total=3)
    for worker in ("ranker", "tally"):
        done = await _run(worker, cluster)
        assert done.code == 78
        (line,) = _told(done)
        problem, _, remedy = line.partition("; ")
        assert problem == f"topic {prefix}suggestion-clicks has 3 partitions, topics.partitions is 2"
        # Kafka takes no partitions away, so there is no option that would do.
        assert remedy.endswith("where one has gained some, see docs/deploying.md")


async def test_without_kafka_it_tries_again_for_its_time_and_ends_with_1(prefix: str) -> None:
    done = await _run("ranker", Cluster(_NOWHERE, prefix))
    assert done.code == 1
    (line,) = _told(done)
    assert f"Kafka at {_NOWHERE} does not answer" in line
    assert "kafka.bootstrap_servers" in line
    assert '"event":"start_delayed"' in done.stderr


@pytest.mark.broker
async def test_without_genesys_it_tries_again_for_its_time_and_ends_with_1(bootstrap_servers: str, prefix: str) -> None:
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    done = await _run("ingress", cluster, **genesys_environment(f"http://{_NOWHERE}"))
    assert done.code == 1
    (line,) = _told(done)
    assert f"Genesys at http://{_NOWHERE} does not answer" in line
    assert "check genesys.base_url" in line
    assert '"event":"start_delayed"' in done.stderr


@pytest.mark.broker
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"GENESYS__CLIENT_SECRET": "wrong"}, ("client", "genesys.client_id")),
        ({"GENESYS__CONTENT_LIBRARY_ID": "another"}, ("library", "genesys.content_library_id")),
    ],
)
async def test_a_genesys_that_refuses_ends_it_with_1_and_the_remedy(
    bootstrap_servers: str, prefix: str, options: dict[str, str], told: tuple[str, str]
) -> None:
    """T2, D10."""
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    async with GenesysSimulator() as genesys:
        done = await _run("ingress", cluster, **(genesys_environment(genesys.base_url) | options))
    assert done.code == 1
    (line,) = _told(done)
    assert all(part in line for part in told), line
    assert "wrong" not in line, "a secret is never told"


@pytest.mark.broker
async def test_a_genesys_that_says_when_to_ask_again_is_waited_for(bootstrap_servers: str, prefix: str) -> None:
    """T2: longer than a start may take. A new process would ask before its time."""
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    script = [Answer(name="busy", status=429, where="libraries", retry_after="11")]
    async with GenesysSimulator(script=script) as genesys:
        options = genesys_environment(genesys.base_url) | {"RUN__START_TIMEOUT_S": "10"}
        async with running("run", "ingress", **environment_of(cluster, **options)) as ingress:
            delayed = await ingress.until("start_delayed", what="Genesys")
            assert delayed["again_in_s"] >= 11
            await ingress.until("process_started")
            await stop_all(ingress)
    await assert_verified(cluster, is_done=False)


@pytest.mark.broker
@pytest.mark.parametrize("where", ["libraries", "handshake"])
async def test_a_client_without_the_scope_ends_it_with_1_and_names_the_scope(
    bootstrap_servers: str, prefix: str, where: str
) -> None:
    """T2, T15, D10: 403 at the first page, and at the socket."""
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    script = [Answer(name="no scope", status=403, where=where, for_s=60)]
    async with GenesysSimulator(script=script) as genesys:
        done = await _run("ingress", cluster, **genesys_environment(genesys.base_url))
    assert done.code == 1
    (line,) = _told(done)
    assert "agentassist:view" in line

"""Stops of the whole bridge, under load and in the middle of things."""

from time import monotonic

import msgspec
import pytest

from bridge.simulator.script import Answer
from tests.e2e.processes import running, stop_all
from tests.e2e.world import INTERACTIONS, world
from tests.kafka.stream import assert_verified

pytestmark = [pytest.mark.broker, pytest.mark.e2e, pytest.mark.faults]


async def test_a_stop_under_load_loses_nothing_and_exits_0_within_the_deadline(
    bootstrap_servers: str, prefix: str
) -> None:
    """D4: the server sees 1000; what was left on the topics is worked by the next start."""
    async with world(bootstrap_servers, prefix) as around:
        for starts in range(1, 3):
            async with running("run", "all", **around.environment) as bridge:
                await around.until_posts(50)
                if starts == 2:
                    await around.end()
                asked_s = monotonic()
                bridge.stop()
                deadline_s = (await bridge.until("drain_started"))["deadline_s"]
                assert await bridge.code() == 0
                assert monotonic() - asked_s < deadline_s
                assert bridge.lines == []
            closes = around.genesys.state().closes
            assert [(close.code, close.by) for close in closes] == [(1000, "client")] * starts
        await around.check()
        audit = await around.cluster.read(around.cluster.topics.suggestion_audit)
        values = [msgspec.json.decode(record.value or b"") for record in audit]
        stopped = [one["interactionId"] for one in values if one["event"] == "reception_gap"]
        assert len(set(stopped)) == INTERACTIONS, "every subscription's gap is told"


@pytest.mark.parametrize("moment", ["http_listening", "process_started", "numbers_assigned", "number_restored"])
async def test_a_stop_in_the_middle_of_the_start_is_a_stop(bootstrap_servers: str, prefix: str, moment: str) -> None:
    async with (
        world(bootstrap_servers, prefix) as around,
        running("run", "all", **around.environment) as bridge,
    ):
        await bridge.until(moment)
        await stop_all(bridge)
        await assert_verified(around.cluster, is_done=False)


async def test_a_stop_while_the_kmp_is_down_leaves_the_exports_to_the_next_start(
    bootstrap_servers: str, prefix: str
) -> None:
    """D8: an export that waits for its retry does not hold up the stop, and comes again under the same key."""
    async with world(bootstrap_servers, prefix) as around:
        async with running("run", "all", **around.environment) as bridge:
            await around.until_posts(20)
            around.kmp.post(Answer(name="down", status=503, where="post", for_s=5))
            await bridge.until("export_retried")
            await stop_all(bridge)
        async with running("run", "all", **around.environment) as bridge:
            await around.until_posts(50)
            await around.end()
            await stop_all(bridge)
        await around.check()

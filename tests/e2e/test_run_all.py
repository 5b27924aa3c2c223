"""The demo's way, but each part a process of its own: the bridge, Genesys, the KMP, the agents."""

from pathlib import Path

import msgspec
import pytest

from bridge.core.books import FrameSent
from bridge.demo.accounts import position_of
from bridge.demo.timeline import plan
from bridge.simulator.agents import SentClick
from bridge.simulator.kmp import KmpBooks, KmpState
from bridge.simulator.outlet import SentFrame
from bridge.simulator.script import Burst, Garbage
from tests.cli.processes import bridge_beside
from tests.e2e.processes import environment_of, genesys_environment, running, simulating, stop_all
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_in_order, assert_that_all_is_there, until_all_is_done

pytestmark = [pytest.mark.broker, pytest.mark.e2e]

_SECONDS = 10.0
# So tight that a burst of a second closes the valve.
_VALVE = {
    "VALVE__CLOSE_ABOVE_RECORDS": "300",
    "VALVE__REOPEN_AT_RECORDS": "50",
    "VALVE__SAMPLE_EVERY_S": "0.05",
    "VALVE__MIN_DWELL_S": "0.5",
}


async def test_the_bridge_and_its_counterparts_as_processes_with_the_demos_faults_balance(
    bootstrap_servers: str, prefix: str, tmp_path: Path
) -> None:
    """Topics by `topics apply`, faults by scripts, the books from the simulators' control pages; D1, D2."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=6)
    faults = plan(_SECONDS, burst_frames=2_000)
    for_genesys = [one for fault in faults for one in fault.genesys]
    for_kmp = [one for fault in faults for one in fault.kmp]
    script = tmp_path / "agents.json"
    script.write_bytes(msgspec.json.encode([Garbage(name="unreadable clicks", count=5), Burst(name="rush", frames=50)]))
    async with simulating("kmp") as kmp, simulating("genesys", "--rate", "40") as genesys:
        options = genesys_environment(genesys.address, interactions=20) | {"KMP__ENDPOINT": kmp.address} | _VALVE
        environment = environment_of(cluster, **options)
        assert (await bridge_beside("topics", "apply", **environment)).code == 0
        async with (
            simulating("agents", "--script", str(script), **environment) as agents,
            running("run", "all", **environment) as bridge,
        ):
            await bridge.until_ready()
            await genesys.post(for_genesys)
            await kmp.post(for_kmp)
            await kmp.until("state", KmpState, lambda state: len(state.faults) == len(for_kmp))
            await bridge.until("valve_opened")
            await bridge.until_ready()
            await genesys.act("stop-sending")
            await cluster.until_at_rest(("ranker", cluster.topics.raw_suggestions))
            await agents.act("stop")
            await until_all_is_done(cluster)
            await stop_all(bridge)
            clicks = await agents.page("clicks", list[SentClick])
        frames = [_frame(one) for one in await genesys.page("sent", list[SentFrame])]
        posts = (await kmp.page("posts", KmpBooks)).posts
    await assert_that_all_is_there(cluster, frames=frames, clicks=map(position_of, clicks), posts=posts)
    assert_in_order(posts)
    codes = [event["code"] for event in bridge.told("socket_closed")]
    assert codes == [1001, 4001, 1000]


def _frame(sent: SentFrame) -> FrameSent:
    return FrameSent(serial=sent.serial, digest=sent.digest, interaction_id=sent.interaction_id, at_ms=sent.at_ms)

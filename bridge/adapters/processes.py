"""What running processes say of themselves over HTTP: `/readyz` and `/metrics`."""

import asyncio
from collections.abc import Sequence

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from bridge.core.status import ProcessStatus
from bridge.ports import Condition

_ANSWER_S = 2.0


class _Readiness(msgspec.Struct):
    ready: bool
    conditions: list[Condition]


async def ask_processes(urls: Sequence[str]) -> list[ProcessStatus]:
    """What each process says, in two seconds at most; one that says nothing is not ready, with the reason."""
    async with httpx.AsyncClient(timeout=_ANSWER_S, trust_env=False) as client:
        return await asyncio.gather(*(_ask(client, url.rstrip("/")) for url in urls))


async def _ask(client: httpx.AsyncClient, url: str) -> ProcessStatus:
    try:
        async with asyncio.timeout(_ANSWER_S):
            readiness = msgspec.json.decode((await client.get(f"{url}/readyz")).content, type=_Readiness)
            metrics = _values((await client.get(f"{url}/metrics")).text)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError, ValueError, OSError) as error:
        return ProcessStatus(url=url, is_ready=False, faults=[f"no answer: {type(error).__name__}"])
    return ProcessStatus(
        url=url,
        is_ready=readiness.ready,
        faults=[f"{one.name}: {one.reason}" for one in readiness.conditions if not one.is_ready],
        is_valve_closed=_flag(metrics.get("bridge_valve_closed")),
        sockets=_count(metrics.get("bridge_genesys_sockets")),
        subscriptions=_count(metrics.get("bridge_ingress_subscriptions")),
        is_kmp_down=_flag(metrics.get("bridge_kmp_down")),
        is_breaker_tripped=_flag(metrics.get("bridge_breaker_tripped")),
    )


def _values(text: str) -> dict[str, float]:
    """The gauges that have no labels. Raises ValueError for what is no Prometheus text."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


def _flag(value: float | None) -> bool | None:
    return None if value is None else bool(value)


def _count(value: float | None) -> int | None:
    return None if value is None else int(value)

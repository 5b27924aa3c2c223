"""`bridge check`: is everything there that the bridge needs? A line each, with the reason and the remedy."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

from bridge.cli.console import EXIT_FAILED, Json, line_of, print_json, unavailable, work

if TYPE_CHECKING:
    from bridge.adapters.genesys.rest import Rest
    from bridge.adapters.kafka.topics import TopicChange
    from bridge.adapters.kmp import HttpKmp
    from bridge.core.errors import UnavailableError
    from bridge.core.events.kinds import Event
    from bridge.core.verdict import Answer
    from bridge.settings import Settings

# After a 429 that names no time.
_AGAIN_S = 2.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check has found; a `remedy` is for what is not as it must be."""

    name: str
    ok: bool
    reason: str
    remedy: str = ""


def check(context: typer.Context, as_json: Json = False) -> None:
    """Checks options, Kafka, topics, Genesys and the KMP; nothing is written or posted. Exit 1 if something fails."""
    from bridge.settings import Settings, SettingsError, load, required_for

    line = line_of(context)
    try:
        settings = load(line.config, overrides=line.overrides)
        faults = required_for(settings, ["ingress", "exporter"])
    except SettingsError as error:
        settings, faults = Settings(), list(error.faults)
        usable: Sequence[str] = ()
    else:
        usable = [part for part in ("kafka", "genesys", "kmp") if not any(one.startswith(part) for one in faults)]
    findings = work(settings, _all(settings, faults, usable, is_told=not as_json))
    is_ok = all(finding.ok for finding in findings)
    if as_json:
        print_json({"ok": is_ok, "checks": [asdict(finding) for finding in findings]})
    if not is_ok:
        raise typer.Exit(EXIT_FAILED)


async def _all(settings: "Settings", faults: Sequence[str], usable: Sequence[str], *, is_told: bool) -> list[Finding]:
    findings = []
    async for finding in _findings(settings, faults, usable):
        findings.append(finding)
        if is_told:
            _tell(finding)
    return findings


def _tell(finding: Finding) -> None:
    word = typer.style("pass", fg="green") if finding.ok else typer.style("FAIL", fg="red", bold=True)
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    typer.echo(f"{word}  {finding.name}: {finding.reason}{remedy}")


async def _findings(settings: "Settings", faults: Sequence[str], usable: Sequence[str]) -> AsyncIterator[Finding]:
    for fault in faults:
        yield Finding(name="options", ok=False, reason=fault, remedy="config/bridge.toml documents every option")
    if not faults:
        yield Finding(name="options", ok=True, reason="every option can be used")
    patience = _Patience(settings.run.start_timeout_s)
    if "kafka" in usable:
        for finding in await _kafka(settings):
            yield finding
    if "genesys" in usable:
        async for finding in _genesys(settings, patience):
            yield finding
    if "kmp" in usable:
        yield await _kmp(settings, patience)


class _Patience:
    """Waits out a 429, as long as all waiting together fits into the time that a start may take."""

    def __init__(self, limit_s: float) -> None:
        self._until_s = time.monotonic() + limit_s

    async def ask(self, question: Callable[[], Awaitable[_T]]) -> _T:
        """The answer; raises what the question raises, 429 only when there is no time left."""
        from bridge.core.errors import UnavailableError

        while True:
            try:
                return await question()
            except UnavailableError as error:
                wait_s = _AGAIN_S if error.retry_after_s is None else error.retry_after_s
                if not _is_busy(error) or time.monotonic() + wait_s > self._until_s:
                    raise
                typer.echo(f"{error}; asked again in {wait_s:.3g} s", err=True)
                await asyncio.sleep(wait_s)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _tell_nobody(event: "Event") -> None:
    """A check tells what it finds, and nothing else."""


def _is_busy(error: "UnavailableError") -> bool:
    from bridge.adapters.genesys.answers import FailedError

    return not isinstance(error, FailedError) or error.cause == "busy"


# -- Kafka -------------------------------------------------------------------------------------------------------------


async def _kafka(settings: "Settings") -> list[Finding]:
    from bridge.adapters.kafka.clients import Clients
    from bridge.adapters.kafka.topics import apply
    from bridge.core.errors import StartError, UnavailableError
    from bridge.core.topics import plans_of, topics_of

    found = Finding(name="kafka", ok=True, reason=f"answers at {settings.kafka.bootstrap_servers}")
    try:
        changes = await apply(
            Clients(settings.kafka),
            plans_of(
                topics_of(settings.topics, prefix=settings.kafka.prefix),
                replication_factor=settings.topics.replication_factor,
            ),
            partitions=settings.topics.partitions,
            replication_factor=settings.topics.replication_factor,
            dry_run=True,
        )
    except UnavailableError as error:
        reason, _, remedy = unavailable(error, settings).partition("; ")
        return [Finding(name="kafka", ok=False, reason=reason, remedy=remedy)]
    except StartError as error:  # It may not look at the topics, say.
        return [found, Finding(name="topics", ok=False, reason=error.problem, remedy=error.remedy)]
    return [found, *(_topic(change) for change in changes if change.action != "keep"), *_all_kept(changes)]


def _topic(change: "TopicChange") -> Finding:
    differs = ", ".join(f"{one.setting} is {one.actual}, not {one.planned}" for one in change.differences)
    reason = f"{change.name}: {differs or 'does not exist'}"
    return Finding(name="topics", ok=False, reason=reason, remedy=change.remedy or "run `bridge topics apply`")


def _all_kept(changes: "Sequence[TopicChange]") -> list[Finding]:
    if any(change.action != "keep" for change in changes):
        return []
    return [Finding(name="topics", ok=True, reason=f"all {len(changes)} are as they must be")]


# -- Genesys -----------------------------------------------------------------------------------------------------------


async def _genesys(settings: "Settings", patience: _Patience) -> AsyncIterator[Finding]:
    from bridge.adapters.genesys.rest import open_rest

    async with open_rest(settings.genesys, clock=_now_ms, emit=_tell_nobody) as rest:
        for name, question in _questions(settings, rest):
            finding = await _asked(settings, f"genesys {name}", question, patience)
            yield finding
            if not finding.ok and name == "token":
                return  # Without one, the others fail in the same way.


def _questions(settings: "Settings", rest: "Rest") -> Iterator[tuple[str, Callable[[], Awaitable[str]]]]:
    from bridge.core.errors import StartError

    async def token() -> str:
        await rest.tokens.token()
        return "the client is accepted"

    async def library() -> str:
        await rest.check_library()
        return f"the content library {settings.genesys.content_library_id} is usable"

    async def quota() -> str:
        active, limit = await rest.active_connections(), settings.genesys.max_connections
        if active >= limit:
            remedy = "end one of them, or raise genesys.max_connections if the tenant has more"
            raise StartError(f"{active} of {limit} connections are in use", remedy=remedy)
        return f"{active} of {limit} connections are in use"

    yield from (("token", token), ("library", library), ("quota", quota))


async def _asked(
    settings: "Settings", name: str, question: Callable[[], Awaitable[str]], patience: _Patience
) -> Finding:
    from bridge.core.errors import StartError, UnavailableError

    try:
        return Finding(name=name, ok=True, reason=await patience.ask(question))
    except StartError as error:
        return Finding(name=name, ok=False, reason=error.problem, remedy=error.remedy)
    except UnavailableError as error:
        remedy = error.remedy or f"try again later, or check genesys.base_url ({settings.genesys.base_url})"
        return Finding(name=name, ok=False, reason=error.reason, remedy=remedy)


# -- the KMP -----------------------------------------------------------------------------------------------------------


async def _kmp(settings: "Settings", patience: _Patience) -> Finding:
    from bridge.adapters.kmp import HttpKmp
    from bridge.core.errors import UnavailableError

    async with HttpKmp(settings.kmp) as kmp:
        try:
            return kmp_finding(await patience.ask(lambda: _probe(kmp, settings)))
        except UnavailableError as error:
            return Finding(
                name="kmp", ok=False, reason=error.reason, remedy="exports wait until it takes more; ask its owner"
            )


async def _probe(kmp: "HttpKmp", settings: "Settings") -> "Answer":
    from bridge.core.errors import UnavailableError
    from bridge.core.reconnect import retry_after_s
    from bridge.core.verdict import Answered

    answer = await kmp.probe()
    if isinstance(answer, Answered) and answer.status == 429:
        asked_s = retry_after_s(answer.retry_after, now_ms=_now_ms(), cap_s=settings.kmp.retry_after_max_s)
        raise UnavailableError("the KMP", "answers 429: too many requests", retry_after_s=asked_s)
    return answer


def kmp_finding(answer: "Answer") -> Finding:
    """HEAD is not POST: 404 and 405 show that somebody is there, and no more can be known without a POST."""
    from bridge.core.verdict import Answered

    if not isinstance(answer, Answered):
        reason = f"no answer ({answer.cause}{': ' if answer.detail else ''}{answer.detail})"
        return Finding(name="kmp", ok=False, reason=reason, remedy="check kmp.endpoint, and that the KMP runs")
    reason = f"answers {answer.status} to HEAD"
    if answer.status in {401, 403}:
        return Finding(name="kmp", ok=False, reason=reason, remedy="check kmp.bearer_token and what it may do")
    if 300 <= answer.status < 400:
        return Finding(name="kmp", ok=False, reason=reason, remedy="set kmp.endpoint to the address it redirects to")
    if answer.status >= 500:
        return Finding(name="kmp", ok=False, reason=reason, remedy="exports wait until it is well; ask its owner")
    return Finding(name="kmp", ok=True, reason=reason)

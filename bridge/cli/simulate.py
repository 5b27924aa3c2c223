"""`bridge simulate`: Genesys, the KMP or agents as a real server or client, until it is stopped."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from bridge.cli.console import EXIT_FAILED, end, settings_of, work

if TYPE_CHECKING:
    from bridge.settings import Settings
    from bridge.simulator.script import Script

app = typer.Typer(help="The counterparts of the bridge, for trials and tests.", no_args_is_help=True)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 is any free one.", min=0, max=65_535)]
ScriptFile = Annotated[
    Path | None, typer.Option("--script", help="JSON file with faults: what goes wrong, and when.", dir_okay=False)
]


class _Simulator(Protocol):
    @property
    def base_url(self) -> str: ...


_S = TypeVar("_S", bound=_Simulator)


@app.command()
def genesys(
    context: typer.Context,
    *,
    host: Host = "127.0.0.1",
    port: Port = 0,
    script: ScriptFile = None,
    rate: Annotated[float, typer.Option(help="Frames a second, over all interactions.", min=0)] = 20.0,
    client_id: Annotated[str, typer.Option(help="The OAuth client that it takes.")] = "simulator",
    client_secret: Annotated[str, typer.Option(help="The secret of that client.")] = "simulator",  # noqa: S107 - it guards nothing
    token_lifetime: Annotated[int, typer.Option(help="Seconds that a token lives.", min=1)] = 3600,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal suggestions.")] = 1,
) -> None:
    """Genesys Cloud: tokens, content libraries, quota and the suggestion socket."""
    from bridge.simulator.genesys import GenesysSimulator

    settings = settings_of(context)
    faults = _faults_in(script)
    _run(
        settings,
        lambda: GenesysSimulator(
            host=host,
            port=port,
            script=faults,
            frames_per_s=rate,
            client_id=client_id,
            client_secret=client_secret,
            token_lifetime_s=token_lifetime,
            seed=seed,
        ),
        told=lambda simulator: f"Genesys at {simulator.base_url}",
    )


@app.command()
def kmp(context: typer.Context, host: Host = "127.0.0.1", port: Port = 0, script: ScriptFile = None) -> None:
    """The knowledge-management platform: takes exports and remembers them."""
    from bridge.simulator.kmp import KmpSimulator

    settings = settings_of(context)
    faults = _faults_in(script)
    header = settings.kmp.idempotency_header
    _run(
        settings,
        lambda: KmpSimulator(host=host, port=port, script=faults, idempotency_header=header),
        told=lambda simulator: f"KMP at {simulator.endpoint}",
    )


@app.command()
def agents(
    context: typer.Context,
    *,
    host: Host = "127.0.0.1",
    port: Port = 0,
    script: ScriptFile = None,
    click_share: Annotated[float, typer.Option(help="Share of lists that are clicked on.", min=0, max=1)] = 0.5,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal choices.")] = 1,
) -> None:
    """Agents: read ranked lists and click on suggestions."""
    from bridge.adapters.kafka.clients import Clients
    from bridge.core.topics import topics_of
    from bridge.simulator.agents import AgentsSimulator
    from bridge.simulator.clicks import ClickMix

    settings = settings_of(context)
    faults = _faults_in(script)
    topics = topics_of(settings.topics, prefix=settings.kafka.prefix)
    mix = ClickMix(click_share=click_share)
    _run(
        settings,
        lambda: AgentsSimulator(
            Clients(settings.kafka), topics, host=host, port=port, mix=mix, script=faults, seed=seed
        ),
        told=lambda simulator: f"agents at {simulator.base_url}",
    )


def _faults_in(script: Path | None) -> "Script":
    from bridge.simulator.script import decode_script

    if script is None:
        return ()
    try:
        return decode_script(script.read_bytes())
    except (OSError, ValueError) as error:
        end(f"{script}: {error}", code=EXIT_FAILED)


def _run(
    settings: "Settings", make: Callable[[], AbstractAsyncContextManager[_S]], *, told: Callable[[_S], str]
) -> None:
    try:
        work(settings, _until_stopped(make, told=told))
    except ValueError as error:  # A script with faults that this simulator cannot do.
        end(str(error), code=EXIT_FAILED)


async def _until_stopped(make: Callable[[], AbstractAsyncContextManager[_S]], *, told: Callable[[_S], str]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with make() as simulator:
        print(told(simulator), flush=True)
        await stopped.wait()

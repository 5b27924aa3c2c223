"""The command `bridge`."""

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli import check, demo, dlq, run, simulate, status, subscriptions, tail, topics, verify
from bridge.cli.console import Line

app = typer.Typer(
    name="bridge",
    help="Carries Agent Assist suggestions from Genesys Cloud into Kafka, ranked, and agents' clicks back to the KMP.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback is for whoever mends the program: plain, and without the values of local variables.
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("check")(check.check)
app.add_typer(topics.app, name="topics")
app.command("subscribe")(subscriptions.subscribe)
app.command("unsubscribe")(subscriptions.unsubscribe)
app.command("tail")(tail.tail)
app.command("status")(status.status)
app.command("verify")(verify.verify)
app.add_typer(dlq.app, name="dlq")
app.add_typer(simulate.app, name="simulate")
app.command("demo")(demo.demo)


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with options, else the one that BRIDGE_CONFIG names.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.OPTION=VALUE", help="One option; goes before all other sources."),
    ] = None,
) -> None:
    """Takes what stands before the command."""
    context.obj = Line(config=config, overrides=tuple(overrides or ()))


def main() -> None:
    """Runs the command that the command line names."""
    app()

"""`bridge topics`: makes the topics, compares them with their plan, mends their settings."""

from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import EXIT_FAILED, Json, print_json, settings_of, work

if TYPE_CHECKING:
    from bridge.adapters.kafka.topics import TopicChange

app = typer.Typer(help="The topics on the cluster.", no_args_is_help=True)

_WORDS = {
    "create": ("made", "would be made"),
    "mend": ("mended", "would be mended"),
    "keep": ("as it must be", "as it must be"),
    "refuse": ("CANNOT BE MENDED", "CANNOT BE MENDED"),
}


@app.callback()
def topics() -> None:
    """The topics on the cluster."""


@app.command()
def apply(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Makes missing topics, shows and mends settings that differ; never deletes.

    Exit 1 if something differs that can't be mended.
    """
    from bridge.adapters.kafka.clients import Clients
    from bridge.adapters.kafka.topics import apply as apply_plans
    from bridge.core.topics import plans_of, topics_of

    settings = settings_of(context)
    changes = work(
        settings,
        apply_plans(
            Clients(settings.kafka),
            plans_of(
                topics_of(settings.topics, prefix=settings.kafka.prefix),
                replication_factor=settings.topics.replication_factor,
            ),
            partitions=settings.topics.partitions,
            replication_factor=settings.topics.replication_factor,
            dry_run=dry_run,
        ),
    )
    is_ok = all(change.action != "refuse" for change in changes)
    if as_json:
        print_json({"ok": is_ok, "dryRun": dry_run, "topics": [_as_json(change) for change in changes]})
    else:
        _print(changes, dry_run=dry_run)
    if not is_ok:
        raise typer.Exit(EXIT_FAILED)


def _as_json(change: "TopicChange") -> dict[str, object]:
    answer: dict[str, object] = {
        "name": change.name,
        "action": change.action,
        "differences": [
            {"setting": one.setting, "actual": one.actual, "planned": one.planned} for one in change.differences
        ],
    }
    return answer | ({"remedy": change.remedy} if change.remedy else {})


def _print(changes: "list[TopicChange]", *, dry_run: bool) -> None:
    width = max(len(change.name) for change in changes)
    for change in changes:
        print(f"{change.name:{width}}  {_WORDS[change.action][dry_run]}")
        for one in change.differences:
            print(f"{'':{width}}    {one.setting}: {one.actual or 'nothing'} -> {one.planned}")
        if change.remedy:
            print(f"{'':{width}}    {change.remedy}")

# SPDX-License-Identifier: Apache-2.0
"""The table of commands. Each is imported only when it is run, so that the command line answers at once."""

import importlib
import sys
from typing import Any, NamedTuple

import typer
from typer import _click as click  # typer 0.29 carries its own click; the package of that name is Faust's
from typer.core import TyperGroup


class Entry(NamedTuple):
    """Where a command is, and what it does in one line."""

    target: str
    help: str


COMMANDS = {
    "new": Entry("nerv.cli.new:new", "Write a small app with tests, to start from."),
    "dev": Entry("nerv.dev.command:dev", "Run Kafka, Redis and the services on this machine until Ctrl-C."),
    "serve": Entry("nerv.cli.serve:serve", "Run one service."),
    "publish": Entry("nerv.cli.topics:publish", "Publish events to a topic."),
    "consume": Entry("nerv.cli.topics:consume", "Print the events of a topic as they come."),
    "subscriptions": Entry(
        "nerv.cli.subscriptions:subscriptions", "Groups that share the events of a topic: make, look at, read."
    ),
    "deadletters": Entry(
        "nerv.cli.deadletters:deadletters", "What could not be processed: look at it, edit it, replay it."
    ),
    "append": Entry("nerv.cli.history:append", "Append an event to a stream."),
    "history": Entry("nerv.cli.upkeep:history", "Print the events of streams; verify, export, import; delete streams."),
    "state": Entry(
        "nerv.cli.states:state", "The state of a stream, at any time; what changed in it; those of a category."
    ),
    "view": Entry("nerv.cli.views:view", "A read model, now or as of any instant."),
    "projections": Entry(
        "nerv.cli.projections:projections", "Read models: lag, versions; rebuild, compare, switch, go back, pause."
    ),
    "sync": Entry("nerv.cli.sync:sync", "Two systems kept equal: plan, approve, apply, run; conflicts, history."),
    "workflow": Entry("nerv.cli.work:workflow", "Start workflows and look at their runs."),
    "schedule": Entry("nerv.cli.schedules:schedule", "Schedules: what they did, when they tick next; pause, resume."),
    "topics": Entry("nerv.cli.setup:topics", "Create, list and describe topics."),
    "acls": Entry("nerv.cli.acls:acls", "Who may do what in Kafka and Redis: show it, write it, have it stand."),
    "bridges": Entry("nerv.cli.bridges:bridges", "The bridges between signals, topics and streams, and their lag."),
    "middleware": Entry("nerv.cli.bridges:middleware", "What a topic's middleware is, and what it did."),
    "schemas": Entry("nerv.cli.schemas:schemas", "What events look like, and whether a change suits those there are."),
    "describe": Entry("nerv.cli.describe:describe", "What an app declares, and how it hangs together."),
    "topology": Entry("nerv.cli.topology:topology", "Where events go: as declared, as seen, and what differs."),
    "top": Entry("nerv.cli.top.command:top", "The mesh while it runs: replicas, rates, lags, owners, runs."),
    "smoke": Entry("nerv.cli.smoke:smoke", "Try a mesh: write an event, read it back, find it in a view."),
    "why": Entry("nerv.cli.why:why", "What led to an event, and what it led to, across streams, topics and services."),
    "trace": Entry("nerv.cli.trace:trace", "A trace as a tree; the last, the slowest and the failed ones."),
    "status": Entry("nerv.cli.status:status", "What runs, and how far the read models have come."),
}


class Lazy(TyperGroup):
    """A group that knows its commands by name and help, and imports the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A name and a line of help, enough to list it."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else typer.core.TyperCommand(cmd_name, help=entry.help)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command itself."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and load(found.name or ""), rest


def load(name: str) -> click.Command:
    """Import a command."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if not module.startswith("nerv.dev"):
            raise
        sys.stderr.write(f"`nerv dev` needs {error.name}: pip install 'nerv-mesh[dev]'\n")
        raise typer.Exit(2) from None
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(found)
    return typer.main.get_command(single)


app = typer.Typer(
    cls=Lazy, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
)


@app.callback()
def nerv() -> None:
    """NERV: an event-sourced mesh on Kafka and Redis.

    Commands find the mesh by NERV_URL, NERV_SERVICES__*, or the .nerv/context.json that `nerv dev` writes in this folder.
    Exit codes: 0 done; 1 refused, or not reached: nothing happened; 2 usage; 3 unknown: ask again, nothing is lost.
    """


def main() -> Any:
    """The entry point of the command."""
    return app(prog_name="nerv")

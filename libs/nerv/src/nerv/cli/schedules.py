# SPDX-License-Identifier: Apache-2.0
"""`nerv schedule`."""

from typing import Annotated

import typer

from nerv.cli.calling import AsJson, call, console, say_json
from nerv.cli.show import table

schedule = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Schedules: what they did, when they tick next."
)

Name = Annotated[str, typer.Argument(help="The schedule.")]
SHOWN = ("schedule", "workflow", "ticks", "status", "next", "last", "became", "run")


@schedule.command("list")
def list_schedules(as_json: AsJson = False) -> None:
    """The schedules of the app, what became of the last tick of each, and when the next is."""
    found = call(lambda client: client.schedules.list())
    if as_json:
        say_json(found)
    else:
        console().print(table("schedules", [{name: row[name] for name in SHOWN} for row in found]))


@schedule.command("next")
def next_ticks(
    name: Name, count: Annotated[int, typer.Option(help="Ticks at most.", min=1, max=100)] = 5, as_json: AsJson = False
) -> None:
    """When a schedule ticks next, in UTC and in its own time zone."""
    found = call(lambda client: client.schedules.next(name, count=count))
    say_json(found) if as_json else console().print(table(f"next ticks of {name}", found))


@schedule.command("pause")
def pause(name: Name, as_json: AsJson = False) -> None:
    """Start no further run until it is resumed."""
    found = call(lambda client: client.schedules.pause(name))
    say_json(found) if as_json else console().print(f"{name}: {found['status']}", markup=False)


@schedule.command("resume")
def resume(name: Name, as_json: AsJson = False) -> None:
    """Go on from now; what would have ticked meanwhile is passed over."""
    found = call(lambda client: client.schedules.resume(name))
    text = f"{name}: {found['status']}; next {found['next']}"
    say_json(found) if as_json else console().print(text, markup=False)

# SPDX-License-Identifier: Apache-2.0
"""`nerv subscriptions`: groups whose members share the events of a topic."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from nerv.cli.calling import AsJson, call, console, say_bytes, say_json
from nerv.cli.choosing import Subjects, Types, Where
from nerv.cli.show import table
from nerv.client import Client
from nerv.client.subscriptions import Delivered, Verdict
from nerv.cloudevents import to_json_line
from nerv.types import new_event_id

subscriptions = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Groups: members on any replica share the events of a topic."
)

COLUMNS = ("name", "topic", "strategy", "lag", "members", "parked_keys", "dead_letters", "fault")
PARTITIONS = ("partition", "position", "end", "lag", "unsettled", "in_hand", "delayed", "given_up", "replaying")

Name = Annotated[str, typer.Argument(help="The group.")]


@subscriptions.command("list")
def list_groups(as_json: AsJson = False) -> None:
    """The groups, with their lag."""
    found = call(lambda client: client.subscriptions.list())
    if as_json:
        say_json(found)
    else:
        rows = [row | {"members": len(row["members"])} for row in found]
        console().print(table("groups", rows, COLUMNS))


@subscriptions.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """A group, its members, and how each partition stands."""
    found = call(lambda client: client.subscriptions.show(name))
    if as_json:
        say_json(found)
        return
    title = f"{name} hears {found['topic']}, {found['strategy']}: lag {found['lag']:,}"
    console().print(table(escape(title), found["partitions"], PARTITIONS))
    if found["members"]:
        console().print(table("members", found["members"]))
    if found["dead_letters"]:
        letters, keys = found["dead_letters"], found["parked_keys"]
        console().print(f"{letters:,} dead letters, {keys:,} keys wait: nerv deadletters parked {name}", markup=False)
    if found["fault"]:
        console().print(found["fault"], style="bold red", markup=False)


@subscriptions.command("make")
def make(
    name: Name,
    topic: Annotated[str, typer.Option(help="The topic that it hears.")],
    start: Annotated[
        str,
        typer.Option("--from", help="earliest, latest, positions of all partitions such as 0:42,1:17, or an instant."),
    ] = "latest",
    types: Types = None,
    subjects: Subjects = None,
    where: Where = None,
    strategy: Annotated[str, typer.Option(help="round-robin, by-key or single.")] = "round-robin",
    max_attempts: Annotated[int, typer.Option(min=1, help="Then it goes to the dead letters.")] = 5,
    lease: Annotated[float, typer.Option(help="Seconds in which a member must answer.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Make a group; one that is there already, and the same, stays as it is."""
    spec: dict[str, Any] = {
        "topic": topic,
        "from": start,
        "types": types or [],
        "subjects": subjects or [],
        "where": where,
        "strategy": strategy,
        "max_attempts": max_attempts,
        "lease_seconds": lease,
    }
    made = call(lambda client: client.subscriptions.make(name, spec))
    say_json(made) if as_json else console().print(f"made: nerv subscriptions read {name}", markup=False)


@subscriptions.command("delete")
def delete(name: Name, as_json: AsJson = False) -> None:
    """Delete a group. Its dead letters stay where they are, but cannot be replayed any more."""
    call(lambda client: client.subscriptions.delete(name))
    say_json({"name": name, "deleted": True}) if as_json else console().print(f"deleted {name}", markup=False)


@subscriptions.command("read")
def read(
    name: Name,
    member: Annotated[str | None, typer.Option(help="The member's name; a new one by default.")] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="End after so many events.")] = None,
    as_json: AsJson = False,
) -> None:
    """Be a member: print events and acknowledge each, until Ctrl-C. With --json each is a CloudEvent on a line."""
    who = member or f"cli-{new_event_id()}"

    async def work(client: Client) -> None:
        count = 0
        while most is None or count < most:
            found = await client.subscriptions.fetch(name, who, 100 if most is None else min(100, most - count))
            for one in found:
                _print(one, as_json)
            if found:
                await client.subscriptions.conclude(name, [Verdict(one.token) for one in found])
            count += len(found)

    call(work)


def _print(one: Delivered, as_json: bool) -> None:
    if as_json:
        say_bytes(to_json_line(one.event))
        return
    event = one.event
    text = f"{one.partition}:{one.offset}  {event.time.isoformat(timespec='seconds')}  {event.type}"
    console().print(f"[dim]{text}[/dim]  {escape(event.data.decode('utf-8', 'replace'))}", soft_wrap=True)

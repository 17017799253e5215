# SPDX-License-Identifier: Apache-2.0
"""`nerv workflow`."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Annotated, Any

import orjson
import typer
from rich.console import RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from nerv.cli.calling import REFUSED, AsJson, call, console, say_bytes, say_json, usage
from nerv.cli.gantt import gantt
from nerv.cli.show import cell, table, tree
from nerv.client import Client
from nerv.client.workflows import ENDED
from nerv.cloudevents.json_format import to_json_line
from nerv.errors import Invalid
from nerv.types import Event, EventType, format_instant, parse_instant, utc_now

BAR_CELLS, FULL, EMPTY = 30, "\u2588", "\u2591"
BESIDE_CELLS = 52  # of a line of a Gantt chart: names, figures and frames
END_TYPES = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
MARKS = {"done": "[green]done[/green]", "failed": "[red]failed[/red]", "running": "[yellow]running[/yellow]"}


workflow = typer.Typer(no_args_is_help=True, add_completion=False, help="Start workflows and look at their runs.")


@workflow.command("list")
def list_workflows(
    name: Annotated[str | None, typer.Argument(help="A workflow, to list its latest runs.")] = None,
    limit: Annotated[int, typer.Option(help="Runs at most.", min=1, max=100)] = 20,
    as_json: AsJson = False,
) -> None:
    """The workflows of the app, or the latest runs of one."""
    if name is None:
        found = call(lambda client: client.workflows.list())
        say_json(found) if as_json else console().print(table("workflows", found))
        return
    found = call(lambda client: client.workflows.runs(name, limit=limit))
    say_json(found) if as_json else console().print(table(f"runs of {name}", [brief(run) for run in found]))


def brief(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run as a line that fits into 80 columns, beside its id; `nerv workflow show` tells the rest."""
    started = parse_instant(run["started"], "started").strftime("%Y-%m-%d %H:%M") if run["started"] else None
    failed = {"error": run["error"]} if run["error"] else {}
    return {"run": run["run"], "status": run["status"], "started": started, "s": run["elapsed_seconds"], **failed}


@workflow.command("start")
def start(
    name: Annotated[str, typer.Argument(help="The workflow.")],
    text: Annotated[str | None, typer.Argument(metavar="INPUT", help="Its input as a JSON object.")] = None,
    run: Annotated[str | None, typer.Option(help="The run's id; the same id starts nothing a second time.")] = None,
    version: Annotated[
        int | None, typer.Option(help="A version of the workflow; without it the highest.", min=1)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended, and show it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a run of a workflow."""
    try:
        given = orjson.loads(text) if text else None
    except orjson.JSONDecodeError as error:
        raise usage(Invalid(f"INPUT is not JSON: {error}")) from None
    if given is not None and not isinstance(given, dict):
        raise usage(Invalid("INPUT must be a JSON object"))

    async def work(client: Client) -> dict[str, Any]:
        started = await client.workflows.start(name, given, run=run, version=version)
        return await client.workflows.wait(started["run"]) if wait else started

    found = call(work)
    if as_json:
        say_json(found)
    elif wait:
        console().print(run_tree(found))
    else:
        console().print(f"started: nerv workflow show {found['run']}", markup=False)
    if found["status"] in ("failed", "cancelled"):
        raise typer.Exit(1)


Follow = Annotated[bool, typer.Option("--follow", help="Draw it anew every second until the run has ended.")]


@workflow.command("show")
def show(
    run: Annotated[str, typer.Argument(help="The run's id.")], follow: Follow = False, as_json: AsJson = False
) -> None:
    """A run with its tasks, and how far its maps have come."""
    found = _drawn(run, run_tree, follow=follow, as_json=as_json)
    if as_json:
        say_json(found)


def _drawn(
    run: str, draw: Callable[[Mapping[str, Any]], RenderableType], *, follow: bool, as_json: bool
) -> Mapping[str, Any]:
    """A run, drawn for people, with `follow` until it has ended."""
    if follow and as_json:
        raise usage(Invalid("--follow draws for people; leave out --json, or use nerv workflow tail --json"))
    out = console()

    async def work(client: Client) -> dict[str, Any]:
        found = await client.workflows.show(run)
        if follow:
            with Live(draw(found), console=out) as live:
                while found["status"] not in ENDED:
                    await asyncio.sleep(1.0)
                    found = await client.workflows.show(run)
                    live.update(draw(found))
        return found

    found = call(work)
    if not (follow or as_json):
        out.print(draw(found))
    return found


@workflow.command("gantt")
def show_gantt(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    follow: Follow = False,
    most: Annotated[int, typer.Option(help="Tasks that are drawn at most.", min=1)] = 40,
    as_json: AsJson = False,
) -> None:
    """When each task of a run waited and ran, and which path was the longest; with --json the figures."""

    def chart(found: Mapping[str, Any]) -> Table:
        return gantt(found, utc_now(), width=max(10, console().width - BESIDE_CELLS), most=most)

    found = _drawn(run, chart, follow=follow, as_json=as_json)
    if as_json:
        say_json(found)


@workflow.command("tail")
def tail(run: Annotated[str, typer.Argument(help="The run's id.")], as_json: AsJson = False) -> None:
    """The events of a run as they are recorded, until it has ended."""

    async def work(client: Client) -> None:
        out = console()
        await client.workflows.show(run)  # one that is not there is refused: its stream would be waited for
        async with aclosing(client.streams.subscribe(f"run-{run}")) as events:
            async for followed in events:
                if as_json:
                    say_bytes(to_json_line(followed.event))
                else:
                    out.print(event_line(followed.event), soft_wrap=True, markup=False)
                if followed.event.type in END_TYPES and (await client.workflows.show(run))["status"] in ENDED:
                    return

    call(work)


def event_line(event: Event[bytes]) -> str:
    """An event of a run on one line: when, what, of which node, and what went wrong."""
    data = orjson.loads(event.data)
    kind = event.type.removeprefix("nerv.").removesuffix(".v1")
    says = [str(data[name]) for name in ("node", "worker", "error", "reason") if data.get(name)]
    return "  ".join([format_instant(event.time), kind, *says])


@workflow.command("replay")
def replay(run: Annotated[str, typer.Argument(help="The run's id.")], as_json: AsJson = False) -> None:
    """Decide all that a run decided once more, by today's code: what would be otherwise? Exit code 1 where something would."""
    found = call(lambda client: client.workflows.replay(run))
    if as_json:
        say_json(found)
    else:
        _show_replay(found)
    if not found["same"]:
        raise typer.Exit(REFUSED)


def _show_replay(found: Mapping[str, Any]) -> None:
    out, count = console(), len(found["differences"])
    title = f"{found['workflow']} v{found['version']} {found['run']}"
    said = "decided as recorded" if found["same"] else f"{count} would be otherwise"
    out.print(f"{title}: {found['decisions']} decisions, {said}", markup=False)
    if count:
        out.print(table("differences", found["differences"]))
    if found["changed_code"]:
        out.print(f"code that has changed since the start: {', '.join(found['changed_code'])}", markup=False)


Run = Annotated[str, typer.Argument(help="The run's id.")]
Reason = Annotated[str, typer.Option(help="Why; it is recorded.")]
OrderId = Annotated[
    str | None, typer.Option("--order", help="The order's id; the same id orders nothing a second time.")
]


@workflow.command("cancel")
def cancel(run: Run, reason: Reason = "", order: OrderId = None, as_json: AsJson = False) -> None:
    """End a run: nothing further is begun, what is running is stopped."""
    _say(call(lambda client: client.workflows.cancel(run, reason=reason, order=order)), as_json)


@workflow.command("pause")
def pause(run: Run, reason: Reason = "", order: OrderId = None, as_json: AsJson = False) -> None:
    """Begin no further task of a run until it is resumed; what is running may end."""
    _say(call(lambda client: client.workflows.pause(run, reason=reason, order=order)), as_json)


@workflow.command("resume")
def resume(run: Run, reason: Reason = "", order: OrderId = None, as_json: AsJson = False) -> None:
    """Go on with a paused run."""
    _say(call(lambda client: client.workflows.resume(run, reason=reason, order=order)), as_json)


@workflow.command("restart")
def restart(
    run: Run,
    steps: Annotated[
        list[str] | None, typer.Option("--from", help="A step to run again, with all that need it; may be repeated.")
    ] = None,
    reason: Reason = "",
    order: OrderId = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that has ended: from the steps named, or from those that failed or were not reached."""
    _say(call(lambda client: client.workflows.restart(run, steps or (), reason=reason, order=order)), as_json)


@workflow.command("signal")
def signal(
    run: Run,
    name: Annotated[str, typer.Argument(help="The signal that the run waits for, or will.")],
    text: Annotated[str, typer.Argument(metavar="PAYLOAD", help="What is sent with it, as JSON.")] = "true",
    signal_id: Annotated[
        str | None, typer.Option("--id", help="The signal's id; the same id is one signal, however often it is sent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell a run what it waits for; also before it comes to the wait."""
    try:
        payload = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise usage(Invalid(f"PAYLOAD is not JSON: {error}; a text is written '\"text\"'")) from None
    found = call(lambda client: client.workflows.signal(run, name, payload, signal=signal_id))
    if as_json:
        say_json(found)
    else:
        console().print(f"{run}: signal {name} is recorded; now {found['status']}", markup=False)


def _say(ordered: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(ordered)
    else:
        console().print(f"{ordered['run']}: {ordered['order']} is recorded; now {ordered['status']}", markup=False)


def run_tree(run: Mapping[str, Any]) -> Tree:
    """A run, its tasks and its result as a tree."""
    made = Tree(f"{escape(run['workflow'])} {escape(run['run'])}: {_mark(run['status'])}")
    maps = {progress["step"]: progress for progress in run.get("maps", ())}
    for node in run["nodes"]:
        step, bracket, _ = node["node"].partition("[")
        if bracket and node["status"] not in ("failed", "retrying"):
            if step in maps:
                made.add(progress_bar(maps.pop(step)))
            continue
        attempt = f", attempt {node['attempt']}" if (node.get("attempt") or 1) > 1 else ""
        error = f": {escape(str(node['error']))}" if node.get("error") else ""
        made.add(f"{escape(node['node'])}: {_mark(node['status'])}{attempt}{error}")
    if run.get("result") is not None:
        result = run["result"]
        made.add(tree("[bold]result[/bold]", result) if isinstance(result, dict | list) else f"result: {cell(result)}")
    return made


def progress_bar(progress: Mapping[str, Any]) -> str:
    """How far a map has come, on one line: what is done, what runs, what has failed."""
    whole = max(1, progress["items"])
    done, running, failed = (progress[name] * BAR_CELLS // whole for name in ("done", "running", "failed"))
    left = BAR_CELLS - done - running - failed
    cells = f"[green]{FULL * done}[/green][yellow]{FULL * running}[/yellow][red]{FULL * failed}[/red][dim]{EMPTY * left}[/dim]"
    says = [f"{progress['done']} of {progress['items']}"]
    says += [f"{progress[name]} {name}" for name in ("running", "failed") if progress[name]]
    return f"{escape(progress['step'])}: {cells} {', '.join(says)}"


def _mark(status: str) -> str:
    return MARKS.get(status, escape(status))

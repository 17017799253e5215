# SPDX-License-Identifier: Apache-2.0
"""`nerv sync`: plans, runs, and what they came to."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nerv.cli.calling import REFUSED, UNKNOWN, AsJson, call, console, say_json, usage
from nerv.cli.new_source import new_source
from nerv.cli.show import cell, table, tree
from nerv.errors import Invalid

# How a run can end other than well, and the command's exit code for it.
CODES = {"conflicts": REFUSED, "refused": REFUSED, "interrupted": UNKNOWN, "unknown": UNKNOWN}
LISTED = ("sync", "kind", "direction", "under", "schedule", "run", "status", "started")
BELOW = ("sync", "status", "create", "update", "delete", "done", "refused", "unknown", "untried", "problem")
RUNS = (
    "started",
    "run",
    "by",
    "cause",
    "status",
    "create",
    "update",
    "delete",
    "done",
    "refused",
    "unknown",
    "seconds",
)
TITLES = {"planned": "would change", "running": "is changing"}

Name = Annotated[str, typer.Argument(metavar="SYNC", help="The sync.")]
PlanId = Annotated[str, typer.Argument(metavar="PLAN", help="The plan's id.")]
ConflictId = Annotated[str, typer.Argument(metavar="CONFLICT", help="The conflict's id.")]
Confirm = Annotated[
    bool, typer.Option("--confirm-deletes", help="Go on when more would be deleted than the guard allows.")
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="Only objects with field=value; may be repeated.", metavar="FIELD=VALUE"),
]
Verify = Annotated[bool, typer.Option("--verify", help="Read both sides whole before, whatever their feeds have told.")]
Most = Annotated[int, typer.Option(help="How many are shown.", min=1, max=10_000)]

sync = typer.Typer(no_args_is_help=True, add_completion=False, help="Two systems kept equal.")
conflicts = typer.Typer(no_args_is_help=True, help="What both sides changed otherwise: look at it, decide it.")
sync.add_typer(conflicts, name="conflicts")
sync.command("new-source")(new_source)


@sync.command("list")
def list_syncs(as_json: AsJson = False) -> None:
    """The syncs of the app, each with its latest run."""
    found = call(lambda client: client.syncs.list())
    if as_json:
        say_json(found)
        return
    rows = [
        {**row, **{name: (row["latest"] or {}).get(name) for name in ("run", "status", "started")}} for row in found
    ]
    console().print(table("syncs", rows, LISTED))


@sync.command("plan")
def plan(name: Name, where: Where = None, verify: Verify = False, most: Most = 20, as_json: AsJson = False) -> None:
    """What a run would do. Nothing is changed; the plan is kept, to be approved and applied."""
    found = _run(name, as_json, dry_run=True, where=where or (), verify=verify)
    if as_json:
        say_json(found)
        return
    _say_run(found, most)
    if found["needs_confirmation"]:
        console().print("More would be deleted than the guard allows: it wants --confirm-deletes.", style="yellow")
    if found["changes"]:
        plan_id = found["plan"]
        console().print(f"approve it: nerv sync approve {name} {plan_id}", markup=False, soft_wrap=True)


@sync.command("show")
def show(name: Name, plan_id: PlanId, most: Most = 20, as_json: AsJson = False) -> None:
    """A plan, with before and after, and who has approved it."""
    found = call(lambda client: client.syncs.plan(name, plan_id, limit=most))
    if as_json:
        say_json(found)
        return
    approved = found["approved"]
    by = f"approved by {approved['by']} at {approved['when']}" if approved else "not approved"
    console().print(f"plan {plan_id} of {name} ({found['direction']}): {_counts(found['summary'])}; {by}", markup=False)
    console().print(changes_table("would change", found["changes"], most))
    if found["losses"]:
        console().print(table("would be overruled", found["losses"]))


@sync.command("approve")
def approve(name: Name, plan_id: PlanId, as_json: AsJson = False) -> None:
    """Approve a plan, so that it may be applied."""
    found = call(lambda client: client.syncs.approve(name, plan_id))
    if as_json:
        say_json(found)
        return
    by = f"{found['approved']['by']} at {found['approved']['when']}"
    console().print(f"approved by {by}; apply it: nerv sync apply {name} {plan_id}", markup=False, soft_wrap=True)


@sync.command("apply")
def apply(name: Name, plan_id: PlanId, confirm_deletes: Confirm = False, as_json: AsJson = False) -> None:
    """Apply exactly an approved plan; refused when either side is not as it was when the plan was made."""
    _ended(_run(name, as_json, plan=plan_id, confirm_deletes=confirm_deletes), as_json)


@sync.command("run")
def run(
    name: Name, confirm_deletes: Confirm = False, where: Where = None, verify: Verify = False, as_json: AsJson = False
) -> None:
    """Plan and apply; what moves meanwhile is compared anew, and never overwritten unseen."""
    _ended(_run(name, as_json, confirm_deletes=confirm_deletes, where=where or (), verify=verify), as_json)


@sync.command("history")
def history(
    name: Name,
    run_id: Annotated[str | None, typer.Argument(metavar="RUN", help="A run, to see all of it.")] = None,
    objects: Annotated[bool, typer.Option("--objects", help="What became of each object of the run.")] = False,
    most: Most = 20,
    as_json: AsJson = False,
) -> None:
    """The latest runs of a sync, or one of them."""
    if run_id is None:
        runs = call(lambda client: client.syncs.runs(name))[:most]
        say_json(runs) if as_json else console().print(table(f"runs of {name}", [_line(one) for one in runs], RUNS))
        return
    one = run_id
    if objects:
        rows = call(lambda client: client.syncs.objects(name, one, limit=most))
        say_json(rows) if as_json else console().print(table(f"objects of run {one}", rows))
        return
    found = call(lambda client: client.syncs.show(name, one))
    say_json(found) if as_json else _say_run(found, most)


@conflicts.command("list")
def list_conflicts(name: Name, as_json: AsJson = False) -> None:
    """The conflicts that wait for a person."""
    found = call(lambda client: client.syncs.conflicts(name))
    if as_json:
        say_json(found)
        return
    rows = [{**one, "differs": _differing(one["left"], one["right"])} for one in found]
    console().print(table(f"conflicts of {name}", rows, ("conflict", "key", "differs", "since")))


@conflicts.command("show")
def show_conflict(name: Name, conflict: ConflictId, as_json: AsJson = False) -> None:
    """A conflict: what both sides hold, and what they had agreed on."""
    found = call(lambda client: client.syncs.conflict(name, conflict))
    if as_json:
        say_json(found)
        return
    console().print(
        tree(f"{escape(found['key'])}, since {found['since']}", {s: found[s] for s in ("base", "left", "right")})
    )


@conflicts.command("decide")
def decide(
    name: Name,
    conflict: ConflictId,
    choice: Annotated[str, typer.Argument(help="left, right, delete, or a row as a JSON object.")],
    as_json: AsJson = False,
) -> None:
    """Say what shall hold on both sides; the next run writes it."""
    row = None if choice in ("left", "right", "delete") else _row(choice)
    word = choice if row is None else "row"
    found = call(lambda client: client.syncs.decide(name, conflict, word, row))
    say_json(found) if as_json else console().print(f"decided; write it: nerv sync run {name}", markup=False)


@conflicts.command("lost")
def lost(name: Name, as_json: AsJson = False) -> None:
    """Every update that was overruled: what a side held, and what holds instead."""
    found = call(lambda client: client.syncs.losses(name))
    columns = ("when", "side", "key", "field", "lost", "kept", "strategy")
    say_json(found) if as_json else console().print(table(f"overruled in {name}", found, columns))


def _run(name: str, as_json: bool, **options: Any) -> dict[str, Any]:
    with _progress(as_json) as watch:
        return call(lambda client: client.syncs.run(name, **options, watch=watch))


@contextlib.contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[Mapping[str, Any]], None] | None]:
    """A bar on standard error while a run goes on, where a person looks at it."""
    out = Console(stderr=True)
    if as_json or not out.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("comparing", total=None)

        def watch(run: Mapping[str, Any]) -> None:
            told = run.get("progress") or {}
            if steps := told.get("steps"):
                ended = sum(told.get(name, 0) for name in ("done", "refused", "unknown"))
                bar.update(task, description="applying", total=steps, completed=ended)

        yield watch


def _ended(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(found)
    else:
        _say_run(found, 20)
    if found["status"] in CODES:
        raise typer.Exit(CODES[found["status"]])


def _say_run(found: Mapping[str, Any], most: int) -> None:
    out = console()
    counts = _counts(found["summary"]) if "summary" in found else found.get("problem", {}).get("detail", "")
    out.print(f"{found['sync']}: {found['status']}; {counts}", markup=False, soft_wrap=True)
    if found.get("changes"):
        out.print(changes_table(TITLES.get(found["status"], "changed"), found["changes"], most))
    if below := below_rows(found):
        out.print(table("what hangs under them", below, BELOW))
    for problem in found.get("problems") or ():
        out.print(cell(problem), style="red")
    if found.get("stopped"):
        out.print(f"then it stopped: {found['stopped']['detail']}", style="red", markup=False, soft_wrap=True)
    if found.get("losses"):
        out.print(f"{found['losses']:,} updates are overruled: nerv sync conflicts lost {found['sync']}", markup=False)
    if found.get("asked"):
        out.print(
            f"conflicts wait for a person: nerv sync conflicts list {found['sync']}", style="yellow", markup=False
        )
    if any((found.get("missed") or {}).values()):
        out.print(f"no feed had told of: {cell(found['missed'])}", style="yellow")


def below_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The runs of the syncs below, as rows, each before those below it."""
    rows: list[dict[str, Any]] = []
    for name, run in (found.get("below") or {}).items():
        problem = (run.get("problem") or {}).get("detail")
        rows += [{**_line(run), "sync": name, "problem": problem}, *below_rows(run)]
    return rows


def changes_table(title: str, changes: Sequence[Mapping[str, Any]], most: int = 20) -> Table:
    """The first changes: what is created or removed whole, and of an update only the fields that differ."""
    made = Table(title=f"{title}: {min(len(changes), most)} of {len(changes):,} shown", title_justify="left")
    for column in ("side", "action", "key", "what"):
        made.add_column(column, overflow="fold")
    for change in changes[:most]:
        made.add_row(change["side"], change["action"], escape(change["key"]), _difference(change))
    return made


def _difference(change: Mapping[str, Any]) -> str:
    before, after = change.get("before") or {}, change.get("after") or {}
    if before and after:
        return "\n".join(
            f"{escape(name)}: {cell(before.get(name))} → {cell(after.get(name))}" for name in _names(before, after)
        )
    return cell(after or before)


def _names(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]


def _differing(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> str:
    if left is None or right is None:
        return f"gone on the {'left' if left is None else 'right'}"
    return ", ".join(f"{name}: {cell(left.get(name))} / {cell(right.get(name))}" for name in _names(left, right))


def _line(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run as a row of the list."""
    seconds = sum((run.get("seconds") or {}).values()) or None
    return {**run, **(run.get("summary") or {}), **(run.get("outcomes") or {}), "seconds": seconds}


def _counts(summary: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in summary.items())


def _row(text: str) -> dict[str, Any]:
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        raise usage(Invalid(f"choose left, right, delete, or a row such as '{{\"seats\": 149}}', not {text[:60]!r}"))
    return row

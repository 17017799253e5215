# SPDX-License-Identifier: Apache-2.0
"""What `nerv sync` shows of plans, runs and conflicts, and what it refuses before anything is sent."""

from io import StringIO
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from nerv.cli.show import table
from nerv.cli.sync import BELOW, CODES, below_rows, changes_table, sync

RUNNER = CliRunner()


def shown(thing: Any) -> str:
    """A table as text."""
    console = Console(width=120, record=True, file=StringIO())
    console.print(thing)
    return console.export_text()


def test_of_an_update_only_what_differs_is_shown() -> None:
    """A create and a delete whole; keys and values as they are, also where they look like markup."""
    changes: list[dict[str, Any]] = [
        {"side": "right", "action": "update", "key": "[b]N1", "before": {"a": 1, "b": 2}, "after": {"a": 1, "b": 3}},
        {"side": "left", "action": "create", "key": "N2", "before": None, "after": {"a": "[red]"}},
        {"side": "left", "action": "delete", "key": "N3", "before": {"a": 7}, "after": None},
    ]
    text = shown(changes_table("would change", changes, 2))
    assert "would change: 2 of 3 shown" in text
    assert "[b]N1" in text
    assert "b: 2 → 3" in text
    assert "a: 1" not in text
    assert "a=[red]" in text
    assert "N3" not in text


def test_what_hangs_under_the_objects_of_a_run_is_shown_below_it() -> None:
    """Each sync before those below it, with what it was refused for."""
    devices = {"run": "r", "status": "refused", "problem": {"detail": "devices is empty"}}
    racks = {"status": "done", "summary": {"create": 2, "delete": 1}, "outcomes": {"done": 3, "untried": 0}}
    rows = below_rows({"below": {"racks": {**racks, "below": {"devices": devices}}}})
    assert [(row["sync"], row["status"]) for row in rows] == [("racks", "done"), ("devices", "refused")]
    text = shown(table("what hangs under them", rows, BELOW))
    assert "devices is empty" in text
    assert below_rows({"status": "done"}) == []


@pytest.mark.parametrize("choice", ["both", "[1]", "{nonsense"])
def test_a_choice_that_is_none_is_wrong_use(choice: str) -> None:
    """The text says what there is to choose; nothing was sent."""
    ended = RUNNER.invoke(sync, ["conflicts", "decide", "fleet", "c1", choice])
    assert ended.exit_code == 2
    assert "left, right, delete" in ended.output


def test_every_command_takes_json() -> None:
    """Also those of groups."""
    command = typer.main.get_command(sync)
    leaves = [leaf for one in command.commands.values() for leaf in getattr(one, "commands", {"": one}).values()]  # type: ignore[attr-defined]
    assert len(leaves) >= 11
    for leaf in leaves:
        assert any("--json" in parameter.opts for parameter in leaf.params), leaf.name


def test_a_run_that_ended_other_than_well_has_an_exit_code_of_its_own() -> None:
    """1 for what was refused, 3 where nobody knows."""
    assert CODES == {"conflicts": 1, "refused": 1, "interrupted": 3, "unknown": 3}

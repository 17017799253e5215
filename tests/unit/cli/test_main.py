# SPDX-License-Identifier: Apache-2.0
"""The command line without a mesh: every command can be found, and wrong use is said without a traceback."""

import pytest
from typer.testing import CliRunner

from nerv.cli.main import COMMANDS, app

runner = CliRunner()


def test_help_lists_every_command() -> None:
    """Each command has a line."""
    listed = runner.invoke(app, ["--help"])
    assert listed.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in listed.output


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_a_help_of_its_own(command: str) -> None:
    """The module that the table names is there, and says how it is used."""
    shown = runner.invoke(app, [command, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Usage:" in shown.output


@pytest.mark.parametrize(
    "wrong",
    [
        ("state", "account-cat", "--as-of", "yesterday"),
        ("append", "account-cat", "{}"),
        ("append", "account-cat", "{}", "--type", "x", "--expected-version", "soon"),
        ("publish", "a.b.v1"),
        ("publish", "a.b.v1", "{}"),
        ("publish", "a.b.v1", "--file", "nowhere.jsonl"),
        ("workflow", "start", "x", "[1]"),
        ("workflow", "start", "x", "{"),
        ("serve", "nothing"),
        ("smoke", "--topic", "a.b.v1"),
        ("smoke", "--projection", "account"),
        ("smoke", "--projection", "account", "--key", "ann"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2_and_a_text(wrong: tuple[str, ...]) -> None:
    """Nothing is sent, and nobody sees a traceback."""
    ended = runner.invoke(app, list(wrong))
    assert ended.exit_code == 2, ended.output
    assert ended.output.strip()
    assert "Traceback" not in ended.output


def test_an_event_without_a_type_is_told_where_types_are_listed() -> None:
    """What to add, and which command knows."""
    ended = runner.invoke(app, ["publish", "a.b.v1", "{}"])
    assert "--type TYPE" in ended.output
    assert "nerv describe" in ended.output

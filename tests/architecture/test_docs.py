# SPDX-License-Identifier: Apache-2.0
"""What the documents tell people to type exists: every `nerv` command with its options, every `make` target, every link."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer import _click as click  # typer carries its own click

from nerv.cli.main import COMMANDS, load

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("", "docs/**/", "services/*/", "examples/*/", "libs/nerv/src/nerv/starter/template/")
DOCUMENTS = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}*.md"))


def commands(text: str, program: str) -> list[str]:
    """The lines of code blocks, and pieces of code in a line, that call a program."""
    blocks = re.findall(r"^(?:    |\t)(.+)$", text, re.M)
    blocks += [
        line for block in re.findall(r"```(?:console|bash|sh)\n(.*?)```", text, re.S) for line in block.splitlines()
    ]
    blocks += re.findall(r"`([^`\n]+)`", text)
    lines = [re.sub(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*", "", line.strip()) for line in blocks]
    return [line.partition("  #")[0].strip() for line in lines if line.startswith(f"{program} ")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_nerv_command_can_be_typed(path: Path) -> None:
    """The command exists, and takes these arguments and options."""
    for line in commands(path.read_text(encoding="utf-8"), "nerv"):
        words = shlex.split(line)[1:]
        if not words or words[0].isupper() or "…" in line or "..." in line:
            continue
        assert words[0] in COMMANDS, line
        command = load(words[0])
        if words[1:] and words[1:] != ["SERVICE"]:
            check(command, words[0], words[1:], line)


def check(command: Any, name: str, arguments: list[str], line: str) -> None:
    """Parse the arguments as the command would, without running it."""
    if hasattr(command, "commands"):
        default = getattr(command, "default", None)  # the command that is meant where none is named
        inner = command.commands.get(arguments[0])
        if inner is None and default is not None:
            inner, arguments = command.commands[default], [default, *arguments]
        assert inner is not None, line
        check(inner, arguments[0], arguments[1:], line)
        return
    try:
        command.make_context(name, list(arguments))
    except click.exceptions.UsageError as error:
        pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_make_target_is_there(path: Path) -> None:
    """What is typed after make is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for line in commands(path.read_text(encoding="utf-8"), "make"):
        words = [word for word in shlex.split(line.partition("&&")[0])[1:] if "=" not in word]
        assert set(words) <= targets, line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path) -> None:
    """Links within the repository point at what is there."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target

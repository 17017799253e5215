# SPDX-License-Identifier: Apache-2.0
"""What the documents tell people to type exists: every `nerv` command with its options, every `make` target, every link."""

import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from typer import _click as click  # typer carries its own click

from bench.__main__ import PARTS as BENCH_PARTS
from bench.__main__ import SUITES as BENCH_SUITES
from nerv.cli.main import COMMANDS, load
from tests.faults.__main__ import SUITES as FAULT_SUITES

ROOT = Path(__file__).parent.parent.parent
FOLDERS = (
    "",
    "docs/**/",
    "services/*/",
    "examples/*/",
    "helm/*/",
    "deploy/*/",
    "libs/nerv/",
    "libs/nerv/src/nerv/starter/template/",
)
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
        words = list(takewhile(lambda word: word not in (">", "|"), shlex.split(line)[1:]))
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
    """What is typed after make is in the Makefile; and a suite is one that there is."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    suites = {"bench": {*BENCH_SUITES, *BENCH_PARTS}, "faults": {*FAULT_SUITES}}
    for line in commands(path.read_text(encoding="utf-8"), "make"):
        words = shlex.split(line.partition("&&")[0])[1:]
        named = [word for word in words if "=" not in word]
        assert set(named) <= targets, line
        for word in words:
            if word.startswith("SUITE="):
                assert word.removeprefix("SUITE=") in suites[named[0]], line


def anchors(path: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return {name if number == 0 else f"{name}-{number}" for name, last in found.items() for number in range(last + 1)}


def links(path: Path) -> list[tuple[str, str]]:
    """Where a page's links within the repository lead: file and anchor, either of which may be empty."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    found = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text)
    return [(target, anchor) for target, anchor in found if "://" not in target]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path) -> None:
    """Links within the repository point at what is there, and at a heading that is there."""
    for target, anchor in links(path):
        file = path.parent / target if target else path
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), f"{target}#{anchor}"


# What of Mermaid the pages use; `make docs-check` asks Mermaid itself. A shape is that of a node, in its brackets.
SHAPE = r'(?:\["[^"]+"\]|\[\("[^"]+"\)\]|\(\["[^"]+"\]\)|\[\["[^"]+"\]\]|\[/"[^"]+"/\]|\{\{"[^"]+"\}\}|\(\("[^"]+"\)\))'
LINES = {
    "flowchart": re.compile(rf'\w+{SHAPE}|\w+ (?:-->|-\.->|==>)(?:\|"[^"]+"\|)? \w+'),
    "sequenceDiagram": re.compile(
        r"participant \w+(?: as .+)?|\w+(?:->>|-->>|-x|--x)\w+: .+|Note (?:over|left of|right of) \w+(?:,\w+)?: .+"
    ),
}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_diagram_is_of_lines_that_mermaid_draws(path: Path) -> None:
    """Each block is a flowchart or a sequence, line by line; what is connected was named before."""
    for block in re.findall(r"^```mermaid\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M):
        head, *lines = [line.strip() for line in block.splitlines()]
        kind = head.partition(" ")[0]
        for line in lines:
            assert LINES[kind].fullmatch(line), line
        if kind == "sequenceDiagram":
            named = set(re.findall(r"^ *participant (\w+)", block, re.M))
            assert set(re.findall(r"^ *(\w+?)(?:->>|-->>|-x|--x)", block, re.M)) <= named
            assert set(re.findall(r"(?:->>|-->>|-x|--x)(\w+):", block)) <= named
        else:
            named = set(re.findall(rf"^ *(\w+){SHAPE}", block, re.M))
            assert {end for ends in re.findall(r"^ *(\w+) .* (\w+)$", "\n".join(lines), re.M) for end in ends} <= named


def test_a_newcomer_finds_every_page() -> None:
    """From the README by links alone."""
    todo, seen = [ROOT / "README.md"], set()
    while todo:
        path = todo.pop().resolve()
        if path in seen:
            continue
        seen.add(path)
        found = [(path.parent / target).resolve() for target, _ in links(path) if target]
        todo += [page for one in found for page in (sorted(one.glob("*.md")) if one.is_dir() else [one])]
        todo = [page for page in todo if page.suffix == ".md"]
    others = {ROOT / "libs/nerv" / name for name in ("README.md", "src/nerv/starter/template/README.md")}  # of packages
    assert set(DOCUMENTS) - others <= seen


def test_anchors_are_made_as_github_makes_them() -> None:
    """Small letters, hyphens for spaces, nothing else; and a heading that comes again is counted."""
    assert {"what-a-run-decides-and-waits-for", "when-it-fails"} <= anchors(ROOT / "services/scheduler/README.md")
    assert {"added", "to-begin-with"} <= anchors(ROOT / "CHANGELOG.md")

# SPDX-License-Identifier: Apache-2.0
"""Spans and their attributes are named in one file, `nerv.telemetry.names`, and nowhere else."""

import ast
from collections.abc import Iterator
from pathlib import Path

from nerv.telemetry import names

ROOT = Path(__file__).parent.parent.parent
SOURCES = [ROOT / "libs" / "nerv" / "src" / "nerv", *sorted((ROOT / "services").glob("*/src"))]
MAKERS = ("span", "span_of_all")  # of `nerv.telemetry`
SETTERS = ("set_attribute", "set_attributes")


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Where a span is made, or told something: file and line, name of the function, and the call."""
    for folder in SOURCES:
        for path in sorted(folder.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "nerv.telemetry" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call):
                    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                    if name in (*MAKERS, *SETTERS):
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", name, node


def literals(node: ast.AST) -> list[str]:
    """The texts that are written out in an expression as names: by themselves, or as keys."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [ast.unparse(node)]
    if isinstance(node, ast.Dict):
        return [text for key in node.keys if key is not None for text in literals(key)]
    return []


def test_no_span_is_named_where_it_is_made() -> None:
    """Neither it, nor any of its attributes: a text there would be a second home of the name."""
    found = list(calls())
    assert len([name for _, name, _ in found if name in MAKERS]) >= 12  # or this looks in the wrong place
    for where, _, call in found:
        told = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "attributes")]
        assert [text for one in told for text in literals(one)] == [], where


def test_names_are_there_once() -> None:
    """Two constants with one text are one too many."""
    values = [value for name, value in vars(names).items() if name.isupper()]
    assert sorted(values) == sorted(set(values))

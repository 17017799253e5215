# SPDX-License-Identifier: Apache-2.0
"""How answers look: tables of named columns, trees of nested values. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

NUMBERS = (int, float)
LONGEST_NAME = 40  # characters that are never broken


def cell(value: Any) -> str:
    """A value as the text of a table's cell; what looks like markup stays as it is."""
    return escape(_text(value))


def _text(value: Any) -> str:
    if value is None or (isinstance(value, Mapping | list | tuple) and not value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={_text(v)}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_text, value))
    return str(value)


def table(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> Table:
    """A table of mappings; without `columns`, every name that occurs, in the order of first occurrence."""
    names = list(columns) or list(dict.fromkeys(name for row in rows for name in row))
    made = Table(title=title, title_justify="left")
    for place, name in enumerate(names):
        numeric = any(isinstance(row.get(name), NUMBERS) and not isinstance(row.get(name), bool) for row in rows)
        # A heading is broken between its words, a name in the first column not at all: people copy it.
        whole = place == 0 and all(len(cell(row.get(name))) <= LONGEST_NAME for row in rows)
        made.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        made.add_row(*(cell(row.get(name)) for name in names))
    return made


def tree(title: str, value: Any) -> Tree:
    """A nested value as a tree; a branch for each mapping and list, a line for each leaf."""
    made = Tree(title)
    _grow(made, value)
    return made


def _grow(branch: Tree, value: Any) -> None:
    items = value.items() if isinstance(value, Mapping) else enumerate(value, start=1)
    for name, inner in items:
        if isinstance(inner, Mapping | list) and inner and _nested(inner):
            _grow(branch.add(f"[bold]{escape(str(name))}[/bold]"), inner)
        else:
            branch.add(f"[bold]{escape(str(name))}[/bold]: {cell(inner)}")


def _nested(value: Mapping[str, Any] | list[Any]) -> bool:
    """Whether a value needs branches of its own: more than a line can hold."""
    return len(cell(value)) > 60 or any(isinstance(v, Mapping | list) for v in _values(value))


def _values(value: Mapping[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else value

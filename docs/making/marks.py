# SPDX-License-Identifier: Apache-2.0
"""Parts of a page that are made: between the marks `<!-- made: NAME -->` and `<!-- end -->`, and excerpts of code.

An excerpt is the block below `<!-- from: PATH NAME ... -->`: the path for the reader, and the functions, classes and values
of these names as they stand in that file, with their decorators.
"""

import ast
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

MADE = re.compile(r"(<!-- made: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)
FROM = re.compile(r"(<!-- from: (\S+)((?: [\w.]+)+) -->\n```python\n)(.*?)(^```$)", re.S | re.M)


def filled(page: str, root: Path, parts: Mapping[str, Callable[[], str]]) -> str:
    """The page with all that is made in it made anew."""
    page = MADE.sub(lambda found: f"{found[1]}{parts[found[2]]()}{found[3]}", page)
    return FROM.sub(
        lambda found: f"{found[1]}# {found[2]}\n{excerpt(root / found[2], found[3].split())}{found[5]}", page
    )


def excerpt(path: Path, names: list[str]) -> str:
    """The pieces of a file by their names, `Class.method` for one of a class. Raises KeyError for one that is gone."""
    return "\n\n".join(_piece(path, name) for name in names)


def _piece(path: Path, name: str) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    node = _named(path)[name]
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    piece = lines[first - 1 : node.end_lineno]
    return "".join(f"{line[node.col_offset :]}\n" for line in piece)


@cache
def _named(path: Path) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for name in _names(node):
            found[name] = node
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}": inner for inner in node.body for name in _names(inner)}
    return found


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]

# SPDX-License-Identifier: Apache-2.0
"""The table of values in the chart's README: made of values.yaml and its comments, so that it cannot go stale."""

from collections.abc import Iterator

import yaml

from deploy.check.running import CHART, Fault

BEGIN, END = "<!-- values: deploy/check.sh --write makes this table -->\n", "<!-- end of values -->\n"
README, VALUES = CHART / "README.md", CHART / "values.yaml"


def check(*, write: bool) -> None:
    """The README's table is that of values.yaml; `write` makes it so."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = "".join((before, BEGIN, "\n", table(VALUES.read_text(encoding="utf-8")), "\n", END, after))
    if write:
        README.write_text(wanted, encoding="utf-8")
    elif README.read_text(encoding="utf-8") != wanted:
        raise Fault("helm/nerv/README.md does not list values.yaml as it is: deploy/check.sh --write")


def table(text: str) -> str:
    """A row for each value: its name, its default where that fits a line, and what values.yaml says of it."""
    found = _rows(_root(text), (), text.splitlines())
    rows = [f"| `{name}` | {_default(node, text)} | {said} |" for name, node, said in found]
    return "\n".join(["| value | default | |", "| --- | --- | --- |", *rows, ""])


def _root(text: str) -> yaml.MappingNode:
    node = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise Fault("helm/nerv/values.yaml is no mapping")
    return node


def _rows(node: yaml.MappingNode, path: tuple[str, ...], lines: list[str]) -> Iterator[tuple[str, yaml.Node, str]]:
    for key, value in node.value:
        name = (*path, key.value)
        said = lines[key.start_mark.line].partition(" # ")[2].replace("|", "\\|")
        inner = isinstance(value, yaml.MappingNode) and not value.flow_style and name[:-1] != ("services",)
        if said or not inner:
            yield ".".join(name), value, said
        if inner:
            yield from _rows(value, name, lines)


def _default(node: yaml.Node, text: str) -> str:
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        return ""
    return f"`{text[node.start_mark.index : node.end_mark.index]}`"

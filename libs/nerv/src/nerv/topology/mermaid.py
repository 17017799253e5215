# SPDX-License-Identifier: Apache-2.0
"""The graph as a Mermaid flowchart, as GitHub and most documentation tools draw it."""

import re
from collections.abc import Iterable

from nerv.topology.ways import Difference, Way

SHAPES = {
    "topic": '[("{}")]',
    "category": '[/"{}"/]',
    "service": '(["{}"])',
    "projection": '[["{}"]]',
    "workflow": '{{{{"{}"}}}}',
    "schedule": '(("{}"))',
}
PLAIN = '["{}"]'
ARROWS = {None: "-->", Difference.UNSEEN: "-.->", Difference.UNDECLARED: "==>"}


def mermaid(ways: Iterable[Way]) -> str:
    """Dotted: declared and never seen; thick: seen and not declared. Names are those of the ends, so that it is the same text for
    the same graph.
    """
    drawn = list(ways)
    ends = list(dict.fromkeys(end for way in drawn for end in way.ends))
    lines = [f"  {_id(end)}{_shape(end)}" for end in ends]
    lines += [f"  {_id(way.source)} {ARROWS[way.differs]}{_label(way)} {_id(way.target)}" for way in drawn]
    return "\n".join(["flowchart LR", *lines]) + "\n"


def _id(end: str) -> str:
    return re.sub(r"\W", "_", end)


def _shape(end: str) -> str:
    kind, _, name = end.partition(":")
    return SHAPES.get(kind, PLAIN).format(f"{kind}<br/>{_text(name)}")


def _label(way: Way) -> str:
    said = way.what.split(", ") if way.what else []
    if way.count:
        said.append(f"{way.count:,}")
    return f'|"{_text("<br/>".join(said))}"|' if said else ""


def _text(text: str) -> str:
    return text.replace('"', "#quot;")

# SPDX-License-Identifier: Apache-2.0
"""What is made from the code in docs/ is what `make docs` would make now, and shows what there is."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.making.cheatsheet import SECTIONS, examples
from docs.making.files import made
from docs.making.marks import excerpt, filled

ROOT = Path(__file__).parent.parent.parent
FILES = made(ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_what_would_be_made_now(path: Path) -> None:
    """If not: `make docs`, and look at what has changed."""
    assert path.read_text(encoding="utf-8") == FILES[path](), "run `make docs`, and look at what has changed"


def test_the_examples_of_the_cheatsheet_run() -> None:
    """From top to bottom, as one program, without a warning."""
    program = ROOT / "docs" / "making" / "examples.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_room_and_every_type_has_an_example() -> None:
    """The sheet has each public name, and of types and rooms an example, too."""
    sheet = (ROOT / "docs" / "cheatsheet.md").read_text(encoding="utf-8")
    shown = examples()
    for section in SECTIONS:
        names = importlib.import_module(f"nerv.{section.room}").__all__
        assert [name for name in names if not re.search(rf"^\| `{name}\b", sheet, re.M)] == [], section.room
        assert any(key.startswith(f"{section.room}.") for key in shown) or section.room in (
            "projections",
            "subscriptions",
        )
    types = importlib.import_module("nerv.types").__all__
    assert [name for name in types if len(name) > 1 and f"types.{name}" not in shown] == []
    for key in shown:
        assert shown[key].splitlines()[0] in sheet, key


def test_an_excerpt_is_the_piece_of_the_file(tmp_path: Path) -> None:
    """With its decorators, whatever stands around it; and a page's block is filled with it."""
    source = tmp_path / "code.py"
    source.write_text(
        "import a\n\n\n@a\ndef one() -> int:\n    return 1\n\n\nclass Two:\n    def three(self) -> None:\n        pass\n"
    )
    assert excerpt(source, ["one"]) == "@a\ndef one() -> int:\n    return 1\n"
    assert excerpt(source, ["Two.three"]) == "def three(self) -> None:\n    pass\n"
    page = "<!-- from: code.py one -->\n```python\nold\n```\n<!-- made: part -->\nold\n<!-- end -->\n"
    assert filled(page, tmp_path, {"part": lambda: "new\n"}) == (
        "<!-- from: code.py one -->\n```python\n# code.py\n@a\ndef one() -> int:\n    return 1\n```\n"
        "<!-- made: part -->\nnew\n<!-- end -->\n"
    )
    with pytest.raises(KeyError):
        excerpt(source, ["gone"])

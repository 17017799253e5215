# SPDX-License-Identifier: Apache-2.0
"""The examples of the documents run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = [
    pytest.param(code, id=f"{path.stem}-{number}")
    for path in sorted((ROOT / "docs" / "components").glob("*.md"))
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M), 1
    )
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs_and_says_something(code: str, tmp_path: Path) -> None:
    """As a program of its own, in an empty folder, without a warning."""
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_every_component_has_a_page_with_an_example() -> None:
    """The rooms of the library that work alone."""
    pages = {path.stem for path in (ROOT / "docs" / "components").glob("*.md")}
    assert {"bus", "effects", "history", "state"} <= pages
    assert len(EXAMPLES) >= len(pages)


def test_the_index_leads_to_every_page_and_shows_every_zone() -> None:
    """Each page is linked, and each word, primitive and zone of the design has an example below its name."""
    index = (ROOT / "docs" / "components" / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs" / "components").glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\((\w+\.md)\)", index))
    sections = dict(re.findall(r"^#{2,3} ([^\n]+)\n(.*?)(?=^#{2,3} |\Z)", index, re.S | re.M))
    for zone in ("State and event", "Execution and dependency", "Perspective and synchronization", "Effect and aspect"):
        assert "```python" in sections[zone], zone
    assert "```python" in sections["Primitives"]
    for word in ("Observer", "Command", "Strategy"):
        assert f"**{word}.**" in sections["Primitives"]

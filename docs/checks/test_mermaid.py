# SPDX-License-Identifier: Apache-2.0
"""Every diagram of the documents can be drawn, by Mermaid itself (`make docs-check`: it comes from npm, with a DOM for it)."""

import json
import re
from pathlib import Path

import pytest

from tests.architecture.npm import installed, run, script
from tests.architecture.test_docs import DOCUMENTS, ROOT

PACKAGES = ("mermaid@12.3.0", "jsdom@31.0.1")


@pytest.fixture(scope="module")
def check() -> str:
    """The program that asks Mermaid."""
    return str(script(installed("mermaid-12.3.0", *PACKAGES), Path(__file__).with_name("mermaid.mjs")))


def test_mermaid_has_nothing_to_say(check: str) -> None:
    """Of any block of any page."""
    blocks = [
        {"place": f"{path.relative_to(ROOT)} {number}", "code": code}
        for path in DOCUMENTS
        for number, code in enumerate(
            re.findall(r"^```mermaid\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M), 1
        )
    ]
    assert blocks
    assert run("node", check, stdin=json.dumps(blocks)) == (0, "")


def test_mermaid_does_look(check: str) -> None:
    """An arrow that leads nowhere is found, and named by its place."""
    code, said = run("node", check, stdin=json.dumps([{"place": "here 1", "code": "flowchart TD\n  a -->\n"}]))
    assert code == 1
    assert said.startswith("here 1: ")

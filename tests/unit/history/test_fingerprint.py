# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of a fold changes with all of the app's code that its state depends on, and with nothing else."""

import importlib
import os
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from nerv.history import fingerprint as prints
from nerv.history.fingerprint import fingerprint

APP = """
import math
from dataclasses import dataclass
import nerv
{imports}
app = nerv.App("prints")
RATE = 3
KINDS = {{"a", "b", "c", "d"}}

class Base(nerv.Event):
    n: int

    def worth(self):
        return self.n * 2

@app.event("x.v2")
class X(Base):
    pass

@dataclass
class Sum:
    total: int = 0

def up(data):
    return {{"n": data["m"]}}

app.upcaster("x.v1", to="x.v2")(up)

def rule(n):
    return math.floor(n) * RATE if n not in KINDS else 0

@app.projection("p", on=["x.v2"], state=Sum)
def p(state, event):
    # {comment}
    return Sum((state or Sum()).total + rule(event.worth()))
"""


def of(folder: Path, name: str, text: str) -> str:
    """The fingerprint of the projection of an app with this source."""
    (folder / f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    app = importlib.import_module(name).app
    try:
        return fingerprint(app, app.projections["p"])
    finally:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the app of a test lies."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


SOURCE = APP.format(imports="", comment="as it was")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (".total + rule", ".total - rule"),  # the fold
        ("RATE = 3", "RATE = 4"),  # a constant of a function that it calls
        ('"d"}', '"e"}'),
        ("floor", "ceil"),  # a foreign function
        ("self.n * 2", "self.n * 3"),  # a method that the event inherits
        ('data["m"]', 'data["k"]'),  # the upcaster
        ("total: int = 0", "total: int = 1"),  # the state
        ("    n: int\n", "    n: int = 7\n"),  # the event
    ],
)
def test_a_change_changes_it(folder: Path, old: str, new: str) -> None:
    """Wherever the change is."""
    assert SOURCE.count(old) == 1
    assert of(folder, "prints", SOURCE) != of(folder, "prints", SOURCE.replace(old, new))


def test_a_comment_or_another_projection_does_not(folder: Path) -> None:
    """States are kept over such a change."""
    other = APP.format(imports="import json", comment="as it is, with an import that nobody uses")
    other += '\n@app.projection("q")\ndef q(state, event):\n    return 1\n'
    assert of(folder, "prints", SOURCE) == of(folder, "prints", other.replace("# as it is", "\n    # as it is"))


def test_another_process_finds_the_same(folder: Path) -> None:
    """Whatever its hash seed and its addresses are."""
    (folder / "prints.py").write_text(SOURCE)
    code = (
        "import prints; from nerv.history.fingerprint import fingerprint;"
        "print(fingerprint(prints.app, prints.app.projections['p']))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(found) == 1


def test_a_foreign_package_counts_by_the_version_of_what_brings_it() -> None:
    """Whether its distribution has the same name, another one, or is one of several that share the package."""
    brought = packages_distributions()
    for package in ("pydantic", "confluent_kafka", "dateutil", "google", "no_such_package"):
        assert prints._release(package) == " ".join(version(name) for name in brought.get(package, ()))

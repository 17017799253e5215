# SPDX-License-Identifier: Apache-2.0
"""Every protocol is small, says what it guarantees, and has one suite that at least two implementations keep."""

import ast
import importlib
import inspect
import pkgutil
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import nerv.protocols
import nerv.testing.contracts
from nerv.protocols.queue import Queue, RunStore, SharedWork, TaskQueue, WaitQueue

ROOT = Path(__file__).parent.parent.parent
FOLDER = Path(nerv.protocols.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
SUITES = {module: f"{module.title().replace('_', '')}Contract" for module in MODULES} | {
    "quantum": "QuantumUnitContract"
}
THE_SIX = {"Observable", "Versioned", "Projectable", "Effectful", "QuantumUnit", "Boundary"}

SIDES = (TaskQueue, SharedWork, RunStore, WaitQueue)  # of one queue, which has one suite


def protocols() -> list[type[Any]]:
    """The protocols of the room; a queue that joins its two sides adds nothing."""
    found = []
    for module in MODULES:
        for _, cls in inspect.getmembers(importlib.import_module(f"nerv.protocols.{module}"), inspect.isclass):
            if (
                getattr(cls, "_is_protocol", False)
                and cls.__module__ == f"nerv.protocols.{module}"
                and cls is not Queue
            ):
                found.append(cls)
    return found


def contracts() -> list[ModuleType]:
    """The modules of the suites."""
    found = pkgutil.iter_modules(nerv.testing.contracts.__path__, "nerv.testing.contracts.")
    return [importlib.import_module(info.name) for info in found]


def members(cls: type[Any]) -> list[str]:
    """What an implementation must have."""
    return [name for name in vars(cls) if not name.startswith("_")]


def suites_kept() -> Counter[str]:
    """How many test classes inherit each contract suite, directly or by one of their own."""
    bases: dict[str, list[str]] = {}
    for path in (ROOT / "tests" / "contract").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]

    def above(name: str) -> set[str]:
        return {name} | {found for base in bases.get(name, []) for found in above(base)}

    return Counter(found for name in bases if name.startswith("Test") for found in above(name) if name != found)


def test_the_six_words_of_the_design_are_there() -> None:
    """Under their names, beside the ports."""
    assert set(nerv.protocols.__all__) >= THE_SIX


@pytest.mark.parametrize("cls", protocols(), ids=lambda cls: cls.__name__)
def test_a_protocol_is_small_and_documented(cls: type[Any]) -> None:
    """At most 7 members (a clock has 2, all others at least 3), each with a docstring; who implements it is said."""
    assert (2 if cls.__name__ == "Clock" else 3) <= len(members(cls)) <= 7
    assert cls.__doc__
    undocumented = [name for name in members(cls) if not getattr(inspect.getattr_static(cls, name), "__doc__", None)]
    assert not undocumented
    assert "mplemented " in cls.__doc__ or cls in SIDES, cls.__doc__


@pytest.mark.parametrize("cls", protocols(), ids=lambda cls: cls.__name__)
def test_two_implementations_keep_its_suite(cls: type[Any]) -> None:
    """One suite in `nerv.testing.contracts`, which users can inherit, and two test classes at least that do."""
    name = "QueueContract" if cls in SIDES else f"{cls.__name__}Contract"
    suites = [vars(module)[name] for module in contracts() if name in vars(module)]
    assert suites, f"nerv.testing.contracts has no {name}"
    assert suites_kept()[name] >= 2

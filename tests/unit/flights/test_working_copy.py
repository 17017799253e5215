# SPDX-License-Identifier: Apache-2.0
"""The registers as sources, and the rows that the demo changes in its copy of them."""

from pathlib import Path

import pytest

from flights.data import data_folder
from flights.demo.working_copy import Edited, copy_registers, edit_registers
from flights.sources import VARIABLE, Airlines, Airports, Planes
from nerv.protocols.source import Row
from nerv.sync import CsvSource

SOURCES: dict[str, type[CsvSource]] = {"planes": Planes, "airlines": Airlines, "airports": Airports}


def load(source: type[CsvSource]) -> dict[str, bytes]:
    """The rows of a source by their keys."""
    return {found.key: found.content for found in source().load() if isinstance(found, Row)}


def test_the_registers_load_from_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FLIGHTS_DATA every row of the package loads, and what it writes as NA is null."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert {name: len(load(source)) for name, source in SOURCES.items()} == {
        "planes": 3_322,
        "airlines": 16,
        "airports": 1_458,
    }
    assert b'"speed":null' in load(Planes)["N10156"]
    assert not any(b'"NA"' in content for source in SOURCES.values() for content in load(source).values())


def test_the_edit_changes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with a fresh copy, the edited one differs by the rows that the edit names, and by no other."""
    copy_registers(data_folder(), tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    before = {name: load(source) for name, source in SOURCES.items()}
    edited = edit_registers(tmp_path)
    after = {name: load(source) for name, source in SOURCES.items()}
    assert [one.source for one in edited] == list(SOURCES)
    for one in edited:
        old, new = before[one.source], after[one.source]
        changed = sum(old[key] != new[key] for key in old.keys() & new.keys())
        assert one == Edited(one.source, len(new.keys() - old.keys()), changed, len(old.keys() - new.keys()))

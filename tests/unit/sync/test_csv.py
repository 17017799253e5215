# SPDX-License-Identifier: Apache-2.0
"""CSV files: what they are read as, and what is refused."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, Field

import nerv
from nerv.errors import Misconfigured
from nerv.protocols.source import Complete, Row
from nerv.sync import CsvSource, LoadRefused
from nerv.sync.loading import load_whole
from nerv.sync.reading import MAX_ROW_BYTES

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


class Plane(BaseModel):
    """A typed row."""

    tailnum: str
    seats: int
    engine: str | None = None
    maker: str = Field(default="", alias="manufacturer")


def source(at: Path, text: str | bytes, **attributes: Any) -> CsvSource:
    """A source of a file with this text."""
    data = text.encode() if isinstance(text, str) else text
    (at / "planes.csv").write_bytes(data)
    names = {"path": "planes.csv", "folder": at, "category": "plane", "key": "tailnum"}
    made: CsvSource = type("Planes", (CsvSource,), names | attributes)()
    return made


def rows(made: CsvSource) -> list[dict[str, Any]]:
    """What is loaded."""
    return [orjson.loads(row.content) for row in load_whole(made, 1000).rows.values()]


def test_without_a_model_every_column_is_a_text_and_an_empty_one_none(tmp_path: Path) -> None:
    """A byte order mark, quotes and Windows line ends are read as RFC 4180 has them; other words for None can be named."""
    text = '\ufefftailnum,seats,note\r\nN1,149,"a ""b"", c"\r\nN2,,NA\r\n'
    assert rows(source(tmp_path, text)) == [
        {"tailnum": "N1", "seats": "149", "note": 'a "b", c'},
        {"tailnum": "N2", "seats": None, "note": "NA"},
    ]
    assert rows(source(tmp_path, text, missing=frozenset({"", "NA"})))[1]["note"] is None


def test_a_model_gives_types(tmp_path: Path) -> None:
    """A row is what its model dumps, under the names of the model's fields."""
    text = "tailnum,seats,engine,manufacturer\nN1,149,,BOEING\n"
    assert rows(source(tmp_path, text, row=Plane)) == [
        {"tailnum": "N1", "seats": 149, "engine": None, "maker": "BOEING"}
    ]


def test_a_bad_row_refuses_the_load_and_names_the_faults(tmp_path: Path) -> None:
    """Line and column of each fault, at most so many that a bad file does not make an endless answer."""
    text = "tailnum,seats\nN1,149\nN2,many\n" + "".join(f"N{n},x\n" for n in range(3, 300))
    with pytest.raises(LoadRefused, match="line 3: seats") as refused:
        rows(source(tmp_path, text, row=Plane))
    assert len(refused.value.errors) == 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("tailnum,seats\n", "is empty"),
        ("tailnum,seats\nN1,149\nN2,1", "line break"),
        ("tailnum,seats\nN1,149\nN2\n", "line 3"),
        ("tailnum,seats\nN1,149,extra\n", "line 2"),
        ("tailnum,seats\nN1,149\n\nN2,1\n", "line 3"),
        ("seats\n149\n", "tailnum is missing"),
        ("tailnum,tailnum\nN1,N1\n", "twice"),
        ('tailnum,seats\nN1,"149\n', "CSV"),
        (b"tailnum,seats\nN\xff,149\n", "UTF-8"),
        ("tailnum,seats\nN1," + "x" * (MAX_ROW_BYTES - 1000) + "\nN2,1\n", None),
        ("tailnum,seats\nN1," + "é" * 100_000 + "\n", "limit"),
        ("tailnum,seats\nN1," + "x" * 2_000_000 + "\n", "line of more"),
    ],
)
def test_faulty_files_are_refused(tmp_path: Path, text: str | bytes, words: str | None) -> None:
    """Each fault by name; a row just within the limit is no fault."""
    made = source(tmp_path, text)
    if words is None:
        assert len(rows(made)) == 2
        return
    with pytest.raises(LoadRefused, match=words):
        rows(made)


def test_a_missing_column_of_the_model_is_refused(tmp_path: Path) -> None:
    """Required fields must have a column, by the alias where there is one; fields with a default need none."""
    with pytest.raises(LoadRefused, match="seats is missing"):
        rows(source(tmp_path, "tailnum\nN1\n", row=Plane))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The refusal says where the file should be."""
    made = source(tmp_path, "x")
    (tmp_path / "planes.csv").unlink()
    with pytest.raises(LoadRefused, match="no file"):
        rows(made)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """Written on, or replaced by another: what was read may be half of each."""
    text = "tailnum,seats\n" + "".join(f"N{n},1\n" for n in range(1000))
    for disturb in (_append, _replace):
        loading = source(tmp_path, text).load()
        next(loading)
        disturb(tmp_path / "planes.csv")
        with pytest.raises(LoadRefused, match="changed while"):
            list(loading)


def _append(file: Path) -> None:
    with file.open("a") as opened:
        opened.write("N-new,1\n")


def _replace(file: Path) -> None:
    new = file.with_suffix(".new")
    new.write_text("tailnum,seats\nN1,1\n")
    new.rename(file)


def test_the_time_of_the_changes_is_the_files(tmp_path: Path) -> None:
    """The modification time, but never the future."""
    made = source(tmp_path, "tailnum\nN1\n")
    os.utime(tmp_path / "planes.csv", (NOON.timestamp(), NOON.timestamp()))
    assert load_whole(made, 10).instant == NOON
    os.utime(tmp_path / "planes.csv", (4e9, 4e9))
    assert load_whole(made, 10).instant <= datetime.now(UTC)


def test_the_folder_may_be_asked_for_and_cannot_be_left(tmp_path: Path) -> None:
    """A classmethod or a function names the folder when the source is read; a path out of it is refused."""
    asked = source(tmp_path, "tailnum\nN1\n", folder=classmethod(lambda cls: tmp_path))
    assert len(rows(asked)) == 1
    assert len(rows(source(tmp_path, "tailnum\nN1\n", folder=lambda: str(tmp_path)))) == 1
    inner = tmp_path / "inner"
    inner.mkdir()
    for path in ("../planes.csv", str(tmp_path / "planes.csv")):
        with pytest.raises(Misconfigured, match="out of its folder"):
            rows(source(tmp_path, "tailnum\nN1\n", path=path, folder=inner))


class Broken(CsvSource):
    """A source of an app that does not do what it should."""

    path = "none"
    category = "plane"
    key = "tailnum"

    def __init__(self, *items: Row | Complete | Exception) -> None:
        self._items = items

    def load(self) -> Iterator[Row | Complete]:
        """The items given; an exception is raised."""
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item


ROW = Row("N1", b"{}", "row 1")


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([ROW], "partial"),
        ([], "partial"),
        ([ROW, Complete(2, NOON)], "2 rows, and gave 1"),
        ([ROW, Complete(1, NOON), Row("N2", b"{}", "row 2")], "went on"),
        ([ROW, ConnectionError("reset")], "ConnectionError: reset"),
        ([Complete(0, NOON)], "empty"),
    ],
)
def test_a_load_without_proof_that_it_is_whole_is_refused(items: list[Any], words: str) -> None:
    """No mark, a mark that does not fit, rows after it, an exception of the app's own code."""
    with pytest.raises(LoadRefused, match=words):
        load_whole(Broken(*items), 10)


def test_an_app_gets_sources_without_diffsync() -> None:
    """`nerv.sync.CsvSource` comes with `import nerv`; diffsync is not imported for it."""
    assert nerv.sync.CsvSource is CsvSource
    script = "import sys, nerv; nerv.sync.CsvSource; sys.exit('diffsync' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", script]) == 0  # noqa: S606 - no shell is wanted

# SPDX-License-Identifier: Apache-2.0
"""Files as sides: what is noticed, and what is written."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from nerv.errors import Invalid, VersionConflict
from nerv.protocols.side import Action, Changes, Entity, Step, Written
from nerv.sync import CsvSource, LoadRefused, NdjsonSource
from nerv.sync.canonical import canonical
from nerv.sync.loading import load_whole
from nerv.sync.sides import FileSide
from nerv.testing.contracts.side import loaded


class Plane(BaseModel):
    """A typed row."""

    tailnum: str
    seats: int | None = None


def side_of(folder: Path, name: str, text: str, row: type[BaseModel] | None = Plane) -> FileSide:
    """A side over a file with this text."""
    (folder / name).write_text(text, encoding="utf-8")
    base = CsvSource if name.endswith(".csv") else NdjsonSource
    told = {"path": name, "folder": folder, "category": "plane", "key": "tailnum", "row": row}
    return FileSide(type("Planes", (base,), told)())


def update(entity: Entity, **values: Any) -> Step:
    """A step that gives a plane other values, or creates it."""
    action = Action.CREATE if entity.row is None else Action.UPDATE
    after = canonical({"tailnum": entity.key, **(entity.row or {}), **values})
    return Step("right", action, entity.key, None, after, entity.version)


async def since(side: FileSide, start: Changes | None) -> list[str] | None:
    """The keys that changed after a position."""
    assert start is not None
    told = await side.changes(start.position)
    return None if told is None else sorted(told.keys)


async def test_whoever_changes_the_file_it_is_noticed(tmp_path: Path) -> None:
    """In place of the old one, in place, at the same length: the keys that differ are told, and a row keeps its stamp else."""
    side = side_of(tmp_path, "planes.csv", "tailnum,seats\nN1,100\nN2,200\n")
    [one, two] = await side.fetch(["N1", "N2"])
    start = await side.changes(None)
    (tmp_path / "planes.csv").write_text("tailnum,seats\nN1,100\nN2,201\n")
    assert await since(side, start) == ["N2"]
    (tmp_path / "new").write_text("tailnum,seats\nN1,100\nN3,1\n")
    (tmp_path / "new").rename(tmp_path / "planes.csv")
    assert await since(side, start) == ["N2", "N3"]
    [same, gone] = await side.fetch(["N1", "N2"])
    assert same == one
    assert (gone.row, two.row) == (None, {"tailnum": "N2", "seats": 200})


async def test_a_file_that_is_not_touched_is_not_read_again(tmp_path: Path) -> None:
    """However often it is asked; a new time alone makes it read, and tells nothing."""
    side = side_of(tmp_path, "planes.csv", "tailnum,seats\nN1,100\n")
    os.utime(tmp_path / "planes.csv", (1_000_000_000, 1_000_000_000))
    start = await side.changes(None)
    await side.fetch(["N1"])
    assert await since(side, start) == []
    assert side.describe().counters["reads"] == 1
    os.utime(tmp_path / "planes.csv", (1_100_000_000, 1_100_000_000))
    assert await since(side, start) == []
    assert side.describe().counters["reads"] == 2


async def test_a_file_is_written_as_it_was_but_for_what_changes(tmp_path: Path) -> None:
    """Columns that the model does not know, the order of the lines, and the mode of the file stay."""
    side = side_of(tmp_path, "planes.csv", 'tailnum,paint,seats\nN2,"red, white",200\nN1,blue,\n')
    (tmp_path / "planes.csv").chmod(0o640)
    n1, n2, n3 = await side.fetch(["N1", "N2", "N3"])
    steps = [update(n1, seats=10), update(n3, seats=30)]
    assert all(isinstance(found, Written) for found in await side.write(steps))
    assert (tmp_path / "planes.csv").read_text() == 'tailnum,paint,seats\nN2,"red, white",200\nN1,blue,10\nN3,,30\n'
    assert (tmp_path / "planes.csv").stat().st_mode & 0o777 == 0o640
    await side.write([Step("right", Action.DELETE, "N2", None, None, n2.version)])
    assert (tmp_path / "planes.csv").read_text() == "tailnum,paint,seats\nN1,blue,10\nN3,,30\n"
    assert sorted(os.listdir(tmp_path)) == ["planes.csv", "planes.csv.lock"]  # noqa: PTH208 - a few names, no waiting


async def test_a_row_that_could_not_be_read_back_is_refused(tmp_path: Path) -> None:
    """A number where the file gives texts, a text that means none, a column that is not there; the others are written."""
    side = side_of(tmp_path, "planes.csv", "tailnum,seats\nN1,100\n", row=None)
    n1, n2 = await side.fetch(["N1", "N2"])
    for values in ({"seats": 5}, {"seats": ""}, {"seats": [1]}, {"wings": "2"}):
        assert isinstance((await side.write([update(n1, **values)]))[0], Invalid), values
    outcomes = await side.write([update(n1, seats=5), update(n2, seats="7")])
    assert [type(found) for found in outcomes] == [Invalid, Written]
    assert (tmp_path / "planes.csv").read_text() == "tailnum,seats\nN1,100\nN2,7\n"


async def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    """Each writes its own rows in many small batches: all are there; of one row that both write one write is refused."""
    one = side_of(tmp_path, "planes.ndjson", '{"tailnum":"N0","seats":1}\n')
    other = FileSide(one._source)
    shared = (await one.fetch(["N0"]))[0]

    async def write(side: FileSide, name: str) -> None:
        for number in range(20):
            [entity] = await side.fetch([f"{name}{number}"])
            assert isinstance((await side.write([update(entity, seats=number)]))[0], Written)

    await asyncio.gather(write(one, "A"), write(other, "B"))
    found, _ = await loaded(one)
    assert len(found) == 41
    outcomes = await asyncio.gather(one.write([update(shared, seats=2)]), other.write([update(shared, seats=3)]))
    assert {type(done[0]) for done in outcomes} == {Written, VersionConflict}


KILLED = """
import asyncio, os, sys
from pathlib import Path
from tests.unit.sync.test_file_side import side_of, update
from nerv.sync.sides import files

Path.replace = lambda self, target: os._exit(9)
async def main():
    side = side_of(Path(sys.argv[1]), "planes.csv", "tailnum,seats\\nN1,100\\n")
    [n1] = await side.fetch(["N1"])
    await side.write([update(n1, seats=5)])
asyncio.run(main())
"""


def test_a_writer_that_dies_leaves_the_old_file(tmp_path: Path) -> None:
    """Killed before the new file takes its place: the old one is whole, and the lock is free."""
    root = Path(__file__).parent.parent.parent.parent
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == 9
    assert (tmp_path / "planes.csv").read_text() == "tailnum,seats\nN1,100\n"
    side = side_of(tmp_path, "planes.csv", "tailnum,seats\nN1,100\n")

    async def write() -> None:
        [n1] = await side.fetch(["N1"])
        assert isinstance((await side.write([update(n1, seats=5)]))[0], Written)

    asyncio.run(write())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ('{"tailnum":"N1"}', "cut short"),
        ('{"tailnum":"N1"}\n[1]\n', "line 2 is no JSON object"),
        ('{"tailnum":"N1"}\n{"tailnum":\n', "line 2 is not JSON"),
        ('{"tailnum":"N1"}\n{"tailnum":"N1"}\n', "twice|unique"),
        ('{"tailnum":"N1","seats":"many"}\n', "seats"),
        ('{"seats":1}\n', "tailnum"),
    ],
)
async def test_an_ndjson_file_that_is_not_whole_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """As a side and as a source; a missing one, too."""
    side = side_of(tmp_path, "planes.ndjson", text)
    with pytest.raises(LoadRefused, match=words):
        await loaded(side)
    with pytest.raises(LoadRefused, match=words):
        load_whole(side._source, 10)
    (tmp_path / "planes.ndjson").unlink()
    with pytest.raises(LoadRefused, match="no file"):
        await side.fetch(["N1"])


def test_an_ndjson_source_gives_its_rows(tmp_path: Path) -> None:
    """Each line, empty ones left out, as canonical JSON."""
    text = '\n{"tailnum":"N1","seats":1}\n\n{"seats":null,"tailnum":"N2"}\n'
    rows = load_whole(side_of(tmp_path, "planes.ndjson", text)._source, 10).rows
    assert [orjson.loads(row.content) for row in rows.values()] == [
        {"tailnum": "N1", "seats": 1}, {"tailnum": "N2", "seats": None},
    ]  # fmt: skip
    assert rows["N2"].place == "planes.ndjson line 4"

# SPDX-License-Identifier: Apache-2.0
"""The app that `nerv new` writes: it is a good one, and it is written whole or not at all."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nerv.errors import Misconfigured
from nerv.starter import check_name, write_app

NERV = str(Path(sys.executable).with_name("nerv"))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A program in the new app's folder, with the app on its path."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "MYPYPATH": str(folder / "src"), "NERV_APP": ""}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_new_app_passes_its_own_tests_and_strict_types(tmp_path: Path) -> None:
    """Under whatever name."""
    write_app("tea_house2", tmp_path)
    folder = tmp_path / "tea_house2"
    tested = run(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout
    assert re.search(r"^\d+ passed", tested.stdout, re.M)
    typed = run(folder, sys.executable, "-m", "mypy", "--strict", "src", "tests")
    assert typed.returncode == 0, typed.stdout


def test_nothing_of_the_template_is_left_in_it(tmp_path: Path) -> None:
    """Neither its name nor its licence; and what git must not see is said."""
    files = write_app("shop", tmp_path)
    texts = "\n".join((tmp_path / path).read_text(encoding="utf-8") for path in files)
    assert "myapp" not in texts
    assert "SPDX" not in texts
    assert "nerv-mesh>=0.1.0" in texts
    assert Path("shop/.gitignore") in files
    assert Path("shop/.dockerignore") in files
    assert "ARG NERV_IMAGE=nerv-mesh:0.1.0\nFROM ${NERV_IMAGE}" in (tmp_path / "shop/Dockerfile").read_text()
    assert Path("shop/src/shop/__init__.py") in files
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_what_it_declares_can_be_described(tmp_path: Path) -> None:
    """An event, a reaction, a decider, a projection with a perspective, tasks and a workflow."""
    write_app("shop", tmp_path)
    folder = tmp_path / "shop"
    told = json.loads(run(folder, NERV, "describe", "--app", "shop:app", "--json").stdout)
    for kind in ("events", "reactions", "deciders", "projections", "tasks", "workflows"):
        assert told[kind], kind


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My App", "my_app"),
        ("my-app", "my_app"),
        ("2tea", "a letter first"),
        ("", "a letter first"),
        ("../up", "up"),
        ("x" * 41, "at most 40"),
        ("class", "word of the language"),
        ("json", "Python's own"),
        ("nerv", "taken"),
        ("nerv_broker", "taken"),
        ("tests", "taken"),
        ("pydantic", "taken"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, said: str, tmp_path: Path) -> None:
    """With what would do, and nothing is written."""
    with pytest.raises(Misconfigured, match=re.escape(said)):
        write_app(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_good_names_are_good() -> None:
    """Small letters, digits, underscores."""
    assert [check_name(name) for name in ("shop", "tea_house", "a1")] == ["shop", "tea_house", "a1"]


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """Also an empty one, and a link that leads nowhere."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("shop", "link"):
        with pytest.raises(Misconfigured, match="there already"):
            write_app(name, tmp_path)
    assert list((tmp_path / "shop").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "shop"]


def test_what_cannot_be_written_whole_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full half way leaves nothing behind; a folder that is not there is said."""
    written = 0
    write_text = Path.write_text

    def full(self: Path, data: str, encoding: str | None = None) -> int:
        nonlocal written
        written += 1
        if written > 3:
            raise OSError(28, "No space left on device")
        return write_text(self, data, encoding)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Misconfigured, match="No space left"):
        write_app("shop", tmp_path)
    assert written == 4
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Misconfigured, match="nothing was written"):
        write_app("shop", tmp_path / "nowhere")


def test_the_command_says_what_comes_next(tmp_path: Path) -> None:
    """Files and commands, for people and for machines; wrong use ends with 2."""
    told = subprocess.run([NERV, "new", "shop"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "next: cd shop" in told.stdout
    again = subprocess.run([NERV, "new", "shop"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "there already" in again.stderr
    other = subprocess.run([NERV, "new", "other", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert json.loads(other.stdout)["next"][-1] == "nerv dev"

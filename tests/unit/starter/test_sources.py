# SPDX-License-Identifier: Apache-2.0
"""The source that `nerv sync new-source` writes: it runs, keeps the contract of sides, and is written whole or not at all."""

import json
import sys
from pathlib import Path

import pytest

from nerv.errors import Misconfigured
from nerv.starter import write_app
from nerv.starter.sources import write_source
from tests.unit.starter.test_writing import NERV, run

MOST = 30  # lines that a user has to look through in the source, besides imports and blank ones


@pytest.mark.timeout(400)  # it type-checks the library, too, which takes minutes on a busy machine
def test_the_new_source_passes_its_contract_and_strict_types(tmp_path: Path) -> None:
    """In an app that was just made, beside its own tests."""
    write_app("shop", tmp_path)
    folder = tmp_path / "shop"
    written = run(folder, NERV, "sync", "new-source", "tea_prices", "--json")
    assert json.loads(written.stdout)["files"] == ["src/shop/tea_prices.py", "tests/test_tea_prices.py"]
    text = (folder / "src/shop/tea_prices.py").read_text()
    assert "class TeaPrices(PagedSource):" in text
    assert "mysource" not in text.lower()
    assert "SPDX" not in text
    tested = run(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_tea_prices.py")
    assert tested.returncode == 0, tested.stdout
    assert "6 passed" in tested.stdout
    typed = run(folder, sys.executable, "-m", "mypy", "--strict", "src", "tests")
    assert typed.returncode == 0, typed.stdout


def test_a_source_is_short(tmp_path: Path) -> None:
    """A user finishes it in under thirty lines."""
    write_app("shop", tmp_path)
    write_source("prices", tmp_path / "shop")
    lines = (tmp_path / "shop/src/shop/prices.py").read_text().splitlines()
    own = [line for line in lines if line.strip() and not line.startswith(("from ", "import "))]
    assert len(own) < MOST


def test_nothing_is_written_where_it_does_not_belong(tmp_path: Path) -> None:
    """No app, a bad name, files that are there: refused, and nothing is changed."""
    with pytest.raises(Misconfigured, match="no package"):
        write_source("prices", tmp_path)
    write_app("shop", tmp_path)
    folder = tmp_path / "shop"
    with pytest.raises(Misconfigured, match="cannot be a package"):
        write_source("../prices", folder)
    (folder / "tests/test_prices.py").write_text("mine")
    with pytest.raises(Misconfigured, match="there already"):
        write_source("prices", folder)
    assert not (folder / "src/shop/prices.py").exists()
    assert (folder / "tests/test_prices.py").read_text() == "mine"

# SPDX-License-Identifier: Apache-2.0
"""Write a source of a sync into an app: its module and its contract test, both or neither."""

from importlib.resources import files
from pathlib import Path

from nerv.errors import Misconfigured
from nerv.starter.writing import LICENCE, check_name

NAME, CLASS, PACKAGE = "mysource", "MySource", "mypackage"  # what the templates call it


def write_source(name: str, folder: Path) -> list[Path]:
    """Write the source `name` into the app in a folder that has `src/<package>`; answers its files, relative to that.

    Raises Misconfigured for a bad name, where there is no app or more than one, and for files that are there already.
    """
    check_name(name)
    package = _package(folder)
    texts = {
        Path("src") / package / f"{name}.py": "source.py",
        Path("tests") / f"test_{name}.py": "test_source.py",
    }
    there = [str(path) for path in texts if (folder / path).exists()]
    if there:
        raise Misconfigured(f"{', '.join(there)} is there already; nothing was written: take another name")
    written: list[Path] = []
    try:
        for path, template in texts.items():
            (folder / path).parent.mkdir(exist_ok=True)
            written.append(path)
            with (folder / path).open("x", encoding="utf-8") as file:
                file.write(_filled(template, name, package))
    except OSError as error:
        for path in written:
            (folder / path).unlink(missing_ok=True)
        raise Misconfigured(f"cannot write {folder / written[-1]}: {error.strerror}; nothing was written") from error
    return written


def _package(folder: Path) -> str:
    found = sorted(path.parent.name for path in folder.glob("src/*/__init__.py"))
    if len(found) != 1:
        raise Misconfigured(
            f"{folder.resolve()} holds {', '.join(found) or 'no package'} under src; a source is written into the one package "
            "of an app: say its folder with --folder, or make one by `nerv new`"
        )
    return found[0]


def _filled(template: str, name: str, package: str) -> str:
    text = (files("nerv.starter") / "source" / template).read_text(encoding="utf-8").removeprefix(LICENCE)
    title = "".join(part.capitalize() for part in name.split("_"))
    return text.replace(CLASS, title).replace(NAME, name).replace(PACKAGE, package)

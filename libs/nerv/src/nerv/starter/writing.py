# SPDX-License-Identifier: Apache-2.0
"""Write the template as a new app: whole or not at all."""

import importlib.util
import keyword
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from nerv.errors import Misconfigured

NAME = "myapp"  # what the template calls itself, wherever it stands
VERSION = "0.0.0"  # stands for the version of nerv-mesh
LICENCE = "# SPDX-License-Identifier: Apache-2.0\n"  # of the template; the new app's is its owner's choice
RENAMED = {
    "gitignore": ".gitignore",  # under its own name it would hide the template's files from git
    "dockerignore": ".dockerignore",
}
LONGEST = 40  # of a name, which begins the names of topics
RESERVED = frozenset({"nerv", "tests", "test", "src", "dist", "build"})


def check_name(name: str) -> str:
    """The name of an app and its package. Raises Misconfigured, saying what would do."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > LONGEST:
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:LONGEST]
        hint = f": {plain}" if re.fullmatch(r"[a-z][a-z0-9_]*", plain) else ""
        raise Misconfigured(
            f"{name[:60]!r} cannot be a package; use at most {LONGEST} small letters, digits and underscores, "
            f"a letter first{hint}"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise Misconfigured(f"{name!r} is a word of the language; take another name, such as {name}_app")
    if name in sys.stdlib_module_names:
        raise Misconfigured(f"{name!r} is a module of Python's own; take another name, such as {name}_app")
    if name in RESERVED or name.startswith("nerv_") or importlib.util.find_spec(name) is not None:
        raise Misconfigured(f"{name!r} is taken by a package that is installed here or reserved; take another name")
    return name


def write_app(name: str, parent: Path) -> list[Path]:
    """Write the app `name` into a new folder of that name; answers its files, relative to `parent`.

    Everything is written beside it first and then renamed. Raises Misconfigured for a bad name, for a folder that is there
    already, and where nothing can be written.
    """
    check_name(name)
    target = parent / name
    if target.exists() or target.is_symlink():
        raise Misconfigured(f"{target} is there already; nothing was written: take another name, or move it away")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
        try:
            _write(name, scratch)
            scratch.chmod(0o755)  # a scratch folder is for its owner alone
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    except OSError as error:
        raise Misconfigured(f"cannot write {target}: {error.strerror}; nothing was written") from error
    return sorted(path.relative_to(parent) for path in target.rglob("*") if path.is_file())


def _write(name: str, folder: Path) -> None:
    for place, text in _template(files("nerv.starter") / "template", PurePosixPath()):
        path = folder / _filled(str(place.with_name(RENAMED.get(place.name, place.name))), name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled(text.removeprefix(LICENCE), name), encoding="utf-8")


def _template(folder: Traversable, place: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _template(entry, place / entry.name)
        elif not entry.name.endswith(".pyc"):
            yield place / entry.name, entry.read_text(encoding="utf-8")


def _filled(text: str, name: str) -> str:
    return text.replace(NAME, name).replace(VERSION, version("nerv-mesh"))

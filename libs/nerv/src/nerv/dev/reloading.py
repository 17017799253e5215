# SPDX-License-Identifier: Apache-2.0
"""`nerv dev --reload`: which files an app is made of, and what to do when they change."""

import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from pathlib import Path

from watchfiles import awatch

from nerv.app.find import GROUP
from nerv.dev.mesh import LocalMesh
from nerv.errors import Misconfigured, NervError


def app_files(reference: str | None) -> list[Path]:
    """The package folder (or module file) of the app, without importing it. Raises Misconfigured when there is none."""
    references = [reference] if reference else [entry.value for entry in entry_points(group=GROUP)]
    found = [path for name in references for path in _package(name.partition(":")[0].partition(".")[0])]
    if not found:
        raise Misconfigured(f"--reload finds no files of the app {reference or '(none installed)'}; name it with --app")
    return found


def _package(name: str) -> list[Path]:
    # The working directory counts: `python -m` puts it on the path of the services.
    spec = PathFinder.find_spec(name, [str(Path.cwd()), *sys.path])
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(location) for location in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.origin else []


async def reload_on_change(mesh: LocalMesh, files: list[Path], say: Callable[[str], None]) -> None:
    """Reload the mesh whenever one of the files changes, until cancelled. A fault of the app is said, and waited out."""
    async for changes in awatch(*files):
        names = sorted({Path(path).name for _, path in changes})
        say(f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''} changed: restarting the services")
        try:
            await mesh.reload()
        except NervError as error:
            say(f"not reloaded: {error}\nChange it again, and it is tried again.")
        else:
            say("reloaded")

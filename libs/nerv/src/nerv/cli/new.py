# SPDX-License-Identifier: Apache-2.0
"""`nerv new`."""

from pathlib import Path
from typing import Annotated

import typer

from nerv.cli.calling import AsJson, console, fail, say_json
from nerv.errors import NervError
from nerv.starter import write_app

STEPS = ("pip install -e '.[dev]'", "pytest", "nerv dev")


def new(
    name: Annotated[str, typer.Argument(help="The app and its package: small letters, digits, underscores.")],
    folder: Annotated[Path, typer.Option(help="Where the app's folder is made.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a small app with tests into a new folder, whole or not at all: something that runs, to be changed."""
    try:
        written = write_app(name, folder)
    except NervError as error:
        raise fail(error) from None
    if as_json:
        say_json({"app": name, "folder": str(folder / name), "files": [str(path) for path in written], "next": STEPS})
        return
    for path in written:
        console().print(f"  {path}", markup=False)
    console().print(f"\nnext: cd {folder / name}", markup=False, soft_wrap=True)
    for step in STEPS:
        console().print(f"      {step}", markup=False)

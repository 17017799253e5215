# SPDX-License-Identifier: Apache-2.0
"""`nerv sync new-source`."""

from pathlib import Path
from typing import Annotated

import typer

from nerv.cli.calling import AsJson, console, fail, say_json
from nerv.errors import NervError
from nerv.starter.sources import write_source


def new_source(
    name: Annotated[str, typer.Argument(help="The source and its module: small letters, digits, underscores.")],
    folder: Annotated[Path, typer.Option(help="The folder of the app.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a source with its contract test into an app: something that runs, to be finished in three places."""
    try:
        written = write_source(name, folder)
    except NervError as error:
        raise fail(error) from None
    if as_json:
        say_json({"source": name, "files": [str(path) for path in written], "next": [f"pytest {written[-1]}"]})
        return
    for path in written:
        console().print(f"  {path}", markup=False)
    console().print(f"\nnext: finish {written[0]}, then pytest {written[-1]}", markup=False, soft_wrap=True)

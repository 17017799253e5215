# SPDX-License-Identifier: Apache-2.0
"""`nerv serve SERVICE`."""

import importlib.util
import runpy
import sys
from typing import Annotated

import typer
from rich.console import Console

SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")


def serve(service: Annotated[str, typer.Argument(help=f"Which: {', '.join(SERVICES)}.")]) -> None:
    """Run one service in this process, set up by NERV_* variables. The same as `python -m nerv_SERVICE`."""
    console = Console(stderr=True, soft_wrap=True)
    if service not in SERVICES:
        console.print(f"there is no service {service}; the services are {', '.join(SERVICES)}", markup=False)
        raise typer.Exit(2)
    module = f"nerv_{service}"
    if importlib.util.find_spec(module) is None:
        console.print(f"{service} is not installed here: pip install nerv-mesh-{service}", markup=False)
        raise typer.Exit(2)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)

# SPDX-License-Identifier: Apache-2.0
"""Which events of a topic: options of every command that reads one."""

from typing import Annotated

import typer

Types = Annotated[list[str] | None, typer.Option("--type", help="Only these types; may end with *. Repeatable.")]
Subjects = Annotated[list[str] | None, typer.Option("--subject", help="Only these; may end with *. Repeatable.")]
Where = Annotated[
    str | None, typer.Option(help="Only events whose data this JMESPath expression finds true: 'delay > `30`'.")
]

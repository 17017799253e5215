# SPDX-License-Identifier: Apache-2.0
"""An app with a projection of things for each test of the contract of sides. `NERV_APP=things:app`."""

from typing import Any

import nerv
from nerv.testing.contracts.side import Thing

app = nerv.App("things")

COUNT = 8


def declare(number: int) -> None:
    """Declare the projection of one category, and the perspective that others see it in."""
    name = f"thing{number}"

    @app.event(f"{name}.told.v1")
    class Told(nerv.Event):
        """A thing is so."""

        key: str
        value: int
        weight: float
        note: str = ""

    @app.projection(name, on=[f"{name}.told.v1"])
    def fold(state: dict[str, Any] | None, event: Told) -> dict[str, Any]:
        return {**event.model_dump(), "secret": True}

    app.perspective(name, "things")(type(f"Thing{number}", (Thing,), {"__doc__": "As a reader sees it."}))


for each in range(COUNT):
    declare(each)

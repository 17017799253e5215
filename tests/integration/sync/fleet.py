# SPDX-License-Identifier: Apache-2.0
"""An app for tests of sync: the same CSV source again and again, each with a file and a category of its own."""

import os

import nerv
import nerv.sync

app = nerv.App("fleet")

NAMES = ("first", "few", "guard", "broken", "race", "kill", "twin", "keys", "trace", "big", "unused")


def declare(name: str) -> None:
    """Declare the source `name`: `<name>.csv` in the folder FLEET_DATA, into streams `<name>-<tailnum>`."""

    @app.source(name)
    class Planes(nerv.sync.CsvSource):
        path = f"{name}.csv"
        category = name
        key = "tailnum"

        @classmethod
        def folder(cls) -> str:
            return os.environ["FLEET_DATA"]


for each in NAMES:
    declare(each)

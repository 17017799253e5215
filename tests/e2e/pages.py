# SPDX-License-Identifier: Apache-2.0
"""Pages of docs/ that show a system by an app and a program: both are run as they stand there."""

import asyncio
import os
import re
import sys
from pathlib import Path


def program(page: Path, app: str, folder: Path) -> None:
    """Put the page's app and its `walk.py` into a folder."""
    parts = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    for name, text in zip((app, "walk.py"), parts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")


async def walk(folder: Path, *words: str) -> str:
    """What the program says in the end; that it succeeds."""
    walking = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "walk.py", *words,
        cwd=folder, env=dict(os.environ), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await walking.communicate()
    assert walking.returncode == 0, error.decode()
    return out.decode().strip()

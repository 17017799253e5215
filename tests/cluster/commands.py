# SPDX-License-Identifier: Apache-2.0
"""Programs that are run to their end: what they said, or an error with their last lines."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from nerv.errors import Misconfigured, Unavailable

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "deploy" / "cluster"
LAST_LINES = 25


async def run(
    *words: str | Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    seconds: float = 600.0,
    shown: bool = False,
) -> str:
    """What the program wrote to its standard output. With `shown` its errors go where ours go, as it writes them.

    Raises Unavailable with its last lines when it fails or takes too long.
    """
    name = Path(words[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, words),
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=None if shown else asyncio.subprocess.PIPE,
            env={**os.environ, **(env or {})},
            cwd=ROOT,
            start_new_session=True,  # a terminal's Ctrl-C is for us alone
        )
    except OSError as error:
        raise Misconfigured(f"{name} cannot be run: {error}") from error
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        raise Unavailable(f"{' '.join(map(str, words[:4]))} was not over after {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        lines = (err or out).decode(errors="replace").splitlines()[-LAST_LINES:]
        raise Unavailable("\n".join([f"{' '.join(map(str, words[:4]))} failed ({process.returncode}):", *lines]))
    return out.decode()

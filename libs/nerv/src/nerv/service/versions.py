# SPDX-License-Identifier: Apache-2.0
"""Which code a replica runs: NERV, Python, the packages that decide what it can do, and the app."""

import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any

from nerv.app.find import GROUP

PACKAGES = ("confluent-kafka", "redis", "pydantic", "uvicorn", "aiohttp", "faust-streaming", "rocksdict", "diffsync")


@cache
def versions(app: str | None) -> dict[str, Any]:
    """`app` is named as settings name it. Its version is that of the distribution that brings it, or else what its package calls
    `__version__`; None for a plain folder.
    """
    return {
        "nerv": _version("nerv-mesh"),
        "python": platform.python_version(),
        "app": _of_app(app),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _of_app(reference: str | None) -> str | None:
    for one in entry_points(group=GROUP):
        if one.dist is not None and reference in (None, one.value):
            return one.dist.version
    package = (reference or "").partition(":")[0].partition(".")[0]
    own = getattr(sys.modules.get(package), "__version__", None)
    return own if isinstance(own, str) else _version(package) if package else None

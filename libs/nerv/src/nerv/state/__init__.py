# SPDX-License-Identifier: Apache-2.0
"""State as immutable values: persistent maps, deltas between them, and projections kept by version."""

from nerv.state.cache import ProjectionCache
from nerv.state.delta import Change, Delta, between, changed
from nerv.state.values import MISSING, Map, Path, freeze, get, put, thaw, update
from nerv.state.written import written_between

__all__ = [
    "MISSING",
    "Change",
    "Delta",
    "Map",
    "Path",
    "ProjectionCache",
    "between",
    "changed",
    "freeze",
    "get",
    "put",
    "thaw",
    "update",
    "written_between",
]

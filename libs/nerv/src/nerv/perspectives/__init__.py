# SPDX-License-Identifier: Apache-2.0
"""Perspectives: the same state, seen by different kinds of readers; one is also the diffing schema of its rows."""

from nerv.perspectives.aware import PerspectiveAware, ViewCache
from nerv.perspectives.base import Perspective
from nerv.perspectives.diffing import DiffSchema
from nerv.perspectives.markers import Identifier, Ignored, Lazy, Redacted, Source, Tolerance, computed
from nerv.perspectives.selecting import shows

__all__ = [
    "DiffSchema",
    "Identifier",
    "Ignored",
    "Lazy",
    "Perspective",
    "PerspectiveAware",
    "Redacted",
    "Source",
    "Tolerance",
    "ViewCache",
    "computed",
    "shows",
]

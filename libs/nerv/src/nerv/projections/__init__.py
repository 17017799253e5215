# SPDX-License-Identifier: Apache-2.0
"""Projections: the fold of an app over history, as the services run it, and a projector for this process."""

from nerv.projections.indexes import Indexes
from nerv.projections.projection import MAX_KEYS, MERGED, Projection, checked_keys, key_function
from nerv.projections.projector import Changed, StateProjector

__all__ = [
    "MAX_KEYS",
    "MERGED",
    "Changed",
    "Indexes",
    "Projection",
    "StateProjector",
    "checked_keys",
    "key_function",
]

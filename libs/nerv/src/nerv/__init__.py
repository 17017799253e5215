# SPDX-License-Identifier: Apache-2.0
"""NERV: an event-sourced mesh for Python teams that run Kafka and Redis. An app imports this, and little else."""

import importlib
from typing import TYPE_CHECKING, Any

from nerv.app import App, Index, Window
from nerv.deciders.refusal import refuse
from nerv.effects import append, http, publish, run
from nerv.errors import NervError
from nerv.model import EventModel as Event
from nerv.perspectives import Perspective

if TYPE_CHECKING:
    from nerv import sync, workflows
    from nerv.client import Client

__all__ = [
    "App",
    "Client",
    "Event",
    "Index",
    "NervError",
    "Perspective",
    "Window",
    "append",
    "http",
    "publish",
    "refuse",
    "run",
    "sync",
    "workflows",
]

# Imported when first used: what they stand on takes longer to import than all else together, and few need both.
_LATER = {"Client": ("nerv.client", "Client"), "sync": ("nerv.sync", None), "workflows": ("nerv.workflows", None)}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'nerv' has no attribute {name!r}")
    module, attribute = _LATER[name]
    found = importlib.import_module(module)
    return found if attribute is None else getattr(found, attribute)

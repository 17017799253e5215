# SPDX-License-Identifier: Apache-2.0
"""NERV: an event-sourced mesh for Python teams that run Kafka and Redis. An app imports this, and little else."""

from nerv.app import App
from nerv.client import Client
from nerv.effects import append, http, publish, run
from nerv.errors import NervError
from nerv.model import EventModel as Event
from nerv.perspectives import Perspective

__all__ = ["App", "Client", "Event", "NervError", "Perspective", "append", "http", "publish", "run"]

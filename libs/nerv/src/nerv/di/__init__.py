# SPDX-License-Identifier: Apache-2.0
"""Components that need each other: made, started, watched and stopped by a container."""

from nerv.di.component import HealthCheck, Key, Kind
from nerv.di.container import Container
from nerv.di.graph import Graph, Node
from nerv.di.injecting import Inject
from nerv.di.scope import Scope

__all__ = ["Container", "Graph", "HealthCheck", "Inject", "Key", "Kind", "Node", "Scope"]

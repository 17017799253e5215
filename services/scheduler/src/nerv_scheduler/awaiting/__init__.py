# SPDX-License-Identifier: Apache-2.0
"""Events of topics, to the runs that wait for them: each is recorded in the run's history before the topic is read on."""

from nerv_scheduler.awaiting.delivering import Deliverer
from nerv_scheduler.awaiting.listening import Listener
from nerv_scheduler.awaiting.searching import Searcher

__all__ = ["Deliverer", "Listener", "Searcher"]

# SPDX-License-Identifier: Apache-2.0
"""What the handlers work with."""

from dataclasses import dataclass

from nerv.app import App
from nerv_projector.control import ControlTopic
from nerv_projector.hub import Hub
from nerv_projector.live import Live
from nerv_projector.mesh import Board
from nerv_projector.settings import ProjectorSettings
from nerv_projector.timetravel import TimeTravel
from nerv_projector.watermarks import Watermarks


@dataclass(frozen=True, slots=True)
class Deps:
    """Made once, by the wiring."""

    settings: ProjectorSettings
    app: App
    hub: Hub
    control: ControlTopic
    watermarks: Watermarks
    travel: TimeTravel
    live: Live
    board: Board

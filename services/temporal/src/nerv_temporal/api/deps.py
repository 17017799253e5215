# SPDX-License-Identifier: Apache-2.0
"""What the handlers work with."""

from dataclasses import dataclass

from nerv.app import App
from nerv.protocols import Clock
from nerv.service import Request
from nerv_temporal.feeds import Feeds
from nerv_temporal.owner import Owners
from nerv_temporal.router import FORWARDED, Router
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.tail import Tail


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers work with."""

    settings: TemporalSettings
    app: App
    router: Router
    owners: Owners
    tail: Tail
    feeds: Feeds
    clock: Clock


def passed_on(request: Request[Deps]) -> dict[str, str]:
    """The headers that go with a request to the owner of a partition."""
    names = ("authorization", "accept", FORWARDED)
    return {name: value for name in names if (value := request.header(name)) is not None}

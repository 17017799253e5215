# SPDX-License-Identifier: Apache-2.0
"""What hosting a projection takes: its views, its topics, and a lane for each of its hops."""

from typing import Any

from nerv.app import App, ProjectionSpec
from nerv.kafka import Producer
from nerv.projections import Projection
from nerv.redis.connection import Redis
from nerv_projector.changes import Changes
from nerv_projector.deadletters import DeadLetters
from nerv_projector.faust_app import FaustHost
from nerv_projector.folding import FoldHop
from nerv_projector.lanes import Hop, Lane
from nerv_projector.rekeying import RekeyHop
from nerv_projector.runner import Hosted, Runner
from nerv_projector.settings import ProjectorSettings
from nerv_projector.views import RedisViews
from nerv_projector.watermarks import Watermarks


class Hosting:
    """Makes the runners of an app's projections."""

    def __init__(
        self, settings: ProjectorSettings, app: App, redis: Redis, letters: DeadLetters, producer: Producer
    ) -> None:
        self._settings, self._app, self._redis, self._letters = settings, app, redis, letters
        self._producer = producer

    def runners(self, host: FaustHost, watermarks: Watermarks) -> list[Runner]:
        """A runner for each projection; the agents of its lanes are declared in `host`."""
        found = []
        for spec in self._app.projections.values():
            hosted = self.hosted(spec)
            for lane in hosted.lanes:
                host.agent(lane)
            found.append(Runner(hosted, watermarks, host.crashed))
        return found

    def hosted(self, spec: ProjectionSpec) -> Hosted:
        """A projection with all that belongs to it."""
        settings = self._settings
        projection: Projection[Any] = Projection(self._app, spec)
        views = RedisViews(self._redis, settings.mesh, spec.name)
        topics = (settings.history, settings.rekeyed(spec.name)) if projection.rekeyed else (settings.history,)
        feed = Changes(self._producer, settings.changes(spec.name), spec.name)
        fold = FoldHop(projection, views, self._letters, feed, topics[-1], settings.group, settings.projector.cache)
        hops: list[Hop] = [self._rekey(projection), fold] if projection.rekeyed else [fold]
        client_id = f"projector-{settings.instance}"
        lanes = [Lane(hop, settings.kafka, f"{client_id}-{hop.name}", settings.projector.batch) for hop in hops]
        return Hosted(projection, views, topics, feed.topic, tuple(lanes))

    def _rekey(self, projection: Projection[Any]) -> RekeyHop:
        settings = self._settings
        return RekeyHop(
            projection,
            settings.kafka,
            f"projector-{settings.instance}",
            self._letters,
            history=settings.history,
            target=settings.rekeyed(projection.name),
            group=settings.group,
        )

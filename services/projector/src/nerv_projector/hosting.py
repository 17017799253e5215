# SPDX-License-Identifier: Apache-2.0
"""What hosting a version of a projection takes: its views, its topics, a lane for each of its hops, and agents for those."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from nerv.app import App
from nerv.client import Client
from nerv.kafka import Producer
from nerv.projections import Projection
from nerv.redis.connection import Redis
from nerv_projector.backlog import reader
from nerv_projector.changes import Changes
from nerv_projector.control import ControlTopic
from nerv_projector.control.model import skip
from nerv_projector.deadletters import DeadLetters
from nerv_projector.faust_app import FaustHost
from nerv_projector.folding import FoldHop
from nerv_projector.lanes import Hop, Lane, Send
from nerv_projector.parks import Parks
from nerv_projector.rekeying import RekeyHop
from nerv_projector.runner import Hosted
from nerv_projector.settings import ProjectorSettings
from nerv_projector.sources import Sources, sources_of
from nerv_projector.views import LiveCopy, RedisViews

SLOTS = ("a", "b")  # of each projection: a live version, and one that is built or kept


class Hosting:
    """Makes what hosts the versions of an app's projections. Agents are declared before Faust starts: two sets a projection."""

    def __init__(
        self, settings: ProjectorSettings, app: App, redis: Redis, letters: DeadLetters, producer: Producer,
        control: ControlTopic, host: FaustHost, client: Client,
    ) -> None:  # fmt: skip
        self._settings, self._app, self._redis, self._letters = settings, app, redis, letters
        # Books of parked keys are streams.
        self._store = None if settings.services.temporal is None else client.streams
        self._producer, self._control = producer, control
        self._copy = LiveCopy(redis, settings.mesh)
        self._free: dict[str, list[tuple[Send, ...]]] = {
            name: [self._agents(host, name, rekeyed=spec.rekeyed, slot=slot) for slot in SLOTS]
            for name, spec in app.projections.items()
        }

    @property
    def copy(self) -> LiveCopy:
        """Where Redis says what is live."""
        return self._copy

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """Of each projection, the digest of its code."""
        return {name: Projection[Any](self._app, spec).fingerprint for name, spec in self._app.projections.items()}

    @property
    def names(self) -> Sequence[str]:
        """The projections."""
        return tuple(self._free)

    def _agents(self, host: FaustHost, name: str, *, rekeyed: bool, slot: str) -> tuple[Send, ...]:
        return tuple(host.agent(f"{hop}-{name}-{slot}") for hop in (("rekey", "fold") if rekeyed else ("fold",)))

    def views(self, name: str, version: int) -> RedisViews:
        """The views of a version."""
        return RedisViews(self._redis, self._settings.mesh, name, version)

    def hosted(self, name: str, version: int) -> Hosted:
        """A version with all that belongs to it; give it back by `release`."""
        settings, spec = self._settings, self._app.projections[name]
        projection: Projection[Any] = Projection(self._app, spec)
        sends = self._free[name].pop()
        sources = sources_of(settings, self._app, spec)
        folded = settings.rekeyed(name) if projection.rekeyed else settings.history
        since = partial(self._control.since, name, version)
        feed = Changes(self._producer, settings.changes(name), name, settings.partitions, version, since)
        views = self.views(name, version)
        fold = FoldHop(
            projection, views, self._letters, feed, folded, settings.group, settings.projector.cache, version,
            partial(self._control.skipped, name),
        )  # fmt: skip
        hops: list[Hop] = [self._rekey(projection, sources, version), fold] if projection.rekeyed else [fold]
        client_id = f"projector-{settings.instance}"
        lanes = [
            Lane(hop, settings.kafka, f"{client_id}-{hop.name}", settings.projector.batch, send)
            for hop, send in zip(hops, sends, strict=True)
        ]
        read = reader(settings.kafka, f"{client_id}-{fold.name}-parks", folded)
        parks = Parks(fold, lanes[-1], read, self._store, partial(self._skip, name))
        return Hosted(projection, views, sources, folded, feed.topic, tuple(lanes), version, fold.meter, parks)

    async def _skip(self, name: str, event: str) -> None:
        if event not in self._control.of(name).skipped:
            await self._control.decide(name, skip(event))

    def release(self, hosted: Hosted) -> None:
        """Its agents may work for another version. Its lanes have been stopped."""
        self._free[hosted.projection.name].append(tuple(lane.send for lane in hosted.lanes))

    def _rekey(self, projection: Projection[Any], sources: Sources, version: int) -> RekeyHop:
        settings = self._settings
        return RekeyHop(
            projection,
            settings.kafka,
            f"projector-{settings.instance}",
            self._letters,
            sources=sources,
            target=settings.rekeyed(projection.name),
            group=settings.group,
            partitions=settings.partitions,
            version=version,
        )

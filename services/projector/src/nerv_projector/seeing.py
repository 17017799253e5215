# SPDX-License-Identifier: Apache-2.0
"""What a reader is shown of a projection: in the perspective that is asked for, or in the one of the token's scopes. Pure.

The state as it is shows what perspectives redact or leave out, so it is for those who hold every scope that any of them names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from nerv.app import App, PerspectiveSpec
from nerv.app.specs import WHOLE, Index
from nerv.errors import Forbidden, Invalid, NotFound, SchemaMismatch
from nerv.perspectives import Perspective, shows
from nerv.projections import Projection
from nerv.protocols.views import View
from nerv.types import Principal
from nerv_projector.model import NOTHING

PARKED = ("event", "type", "position", "cause", "attempt", "letter")  # of what a view says of why it is parked


@dataclass(frozen=True, slots=True)
class Seen:
    """What one reader is shown of one projection. `whole`: whether that could be all of every state."""

    projection: Projection[Any]
    perspective: str | None
    model: type[Perspective] | None
    viewer: Principal
    dump: Callable[[Any], dict[str, Any]] | None
    whole: bool

    def state(self, key: str, view: View) -> Any:
        """The state as this reader is shown it, JSON-able. Raises SchemaMismatch, with the path of each fault and no value."""
        if self.dump is None or view.state == NOTHING:
            return orjson.Fragment(view.state)
        try:
            return self.dump(self.projection.load(view.state))
        except SchemaMismatch as error:
            text = f"the state of {self.projection.name}/{key} does not fit perspective {self.perspective}"
            raise SchemaMismatch(text, errors=error.errors) from None

    def plain(self, key: str, view: View) -> Any:
        """The same as plain values, to look into."""
        found = self.state(key, view)
        return orjson.loads(view.state) if isinstance(found, orjson.Fragment) else found

    def view(self, key: str, view: View) -> View:
        """The view with its state as this reader is shown it."""
        return view if self.dump is None else replace(view, state=orjson.dumps(self.state(key, view)))

    def parked(self, view: View) -> dict[str, str] | None:
        """Why a key is parked. What the fold said of it may hold anything of the event: that is for those who may see all."""
        if view.parked is None:
            return None
        return {name: view.parked[name] for name in PARKED if name in view.parked and (self.whole or name != "cause")}

    def mark(self) -> Sequence[str]:
        """What an answer depends on beside the view."""
        if self.model is None or self.perspective is None:
            return ()
        return (self.perspective, *sorted(scope for scope in self.model.scopes() if self.viewer.may(scope)))


def seen_by(
    app: App, projection: Projection[Any], viewer: Principal, asked: str | None = None, fields: Sequence[str] | None = None
) -> Seen:  # fmt: skip
    """What a reader is shown who asks for this perspective, or for none. Raises NotFound, Forbidden or Invalid."""
    known = {spec.name: spec for spec in app.perspectives.values() if spec.projection == projection.name}
    whole = all(viewer.may(scope) for scope in _scopes(known))
    spec = _chosen(projection.name, known, viewer, asked)
    if spec is None:
        if fields is not None:
            raise Invalid("fields are those of a perspective; name it, too: ?perspective=...&fields=...")
        for scope in sorted(_scopes(known)):
            viewer.require(scope)
        return Seen(projection, None, None, viewer, None, whole)
    dump = spec.model.dumper(fields=fields, viewer=viewer)
    return Seen(projection, spec.name, spec.model, viewer, dump, whole)


def _chosen(
    projection: str, known: Mapping[str, PerspectiveSpec], viewer: Principal, asked: str | None
) -> PerspectiveSpec | None:
    """The perspective; None for the state as it is."""
    if asked == WHOLE:
        return None
    if asked is not None:
        if asked not in known:
            raise NotFound(f"projection {projection} has no perspective {asked[:100]!r}; it has {_names(known)}")
        if (scope := known[asked].scope) is not None:
            viewer.require(scope)
        return known[asked]
    by_role = [spec for spec in known.values() if spec.scope is not None]
    default = next((spec for spec in known.values() if spec.default), None)
    held = next((spec for spec in by_role if viewer.may(spec.scope or "")), default)
    if held is None and by_role:
        wanted = ", ".join(f"{spec.name} ({spec.scope})" for spec in by_role)
        raise Forbidden(
            f"{viewer.subject} holds the scope of no perspective of {projection}: {wanted}; ask for a token that has one, "
            "or name a perspective for all"
        )
    return held


def check_index(app: App, seen: Seen, name: str) -> Index:
    """The index that views are asked for by, if the reader may see what it is of. Raises Invalid or Forbidden."""
    projection = seen.projection
    spec = projection.spec.indexes.get(name)
    if spec is None:
        known = "none" if projection.indexes is None else projection.indexes.listed()
        raise Invalid(f"projection {projection.name} has no index {name[:100]!r}; it has {known}")
    if spec.scope is not None:
        seen.viewer.require(spec.scope)
    if not (seen.whole or _shown(seen, spec)):
        known_specs = {one.name: one for one in app.perspectives.values() if one.projection == projection.name}
        missing = ", ".join(sorted(scope for scope in _scopes(known_specs) if not seen.viewer.may(scope)))
        raise Forbidden(
            f"index {name} of {projection.name} is of what {seen.viewer.subject} may not see; it takes the scopes {missing}"
        )
    return spec


def _shown(seen: Seen, spec: Index) -> bool:
    return isinstance(spec.by, str) and seen.model is not None and shows(seen.model, spec.by.split("."), seen.viewer)


def _scopes(known: Mapping[str, PerspectiveSpec]) -> frozenset[str]:
    """The scopes of all of them, and of what they redact."""
    named = {spec.scope for spec in known.values() if spec.scope is not None}
    return frozenset(named.union(*(spec.model.scopes() for spec in known.values())))


def _names(known: Mapping[str, Any]) -> str:
    return ", ".join(sorted(known)) or "none"

# SPDX-License-Identifier: Apache-2.0
"""A perspective is a pydantic model over a state: its fields are what this kind of reader sees."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Self, overload

from nerv.perspectives.declaring import check_class, checked_fields, diff_schema, fields_of
from nerv.perspectives.diffing import DiffSchema
from nerv.perspectives.plan import plan_for, whole_plan
from nerv.perspectives.seen import Seen
from nerv.perspectives.selecting import scopes_of
from nerv.types import Principal

AHEAD = 256  # states that `many` reads ahead, so that pydantic is called once for all of them


class Perspective(Seen):
    """A view of a state, which is a mapping or an object with attributes. Declare the fields to show, and markers where a field
    is more than its type: `Annotated[str, Source("position.city")]`; `@computed` fields are made of others.

    `fields` asks for some of the fields only, those of nested perspectives as `leg.origin`. Nothing else is read, validated or
    computed. `viewer` is the reader; without one, whatever is `Redacted` for anybody is hidden.

    Errors: Misconfigured as the class is made or first used; SchemaMismatch where a state does not fit, with the path of each
    fault, and no value of a redacted field; Invalid for fields that are not shown; Forbidden for hidden ones that are looked at.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse what contradicts itself, and what a view of some of the fields could not honour."""
        super().__pydantic_init_subclass__(**kwargs)
        check_class(cls, RESERVED)
        checked_fields(cls)

    @classmethod
    def view(cls, state: Any, *, fields: Sequence[str] | None = None, viewer: Principal | None = None) -> Self:
        """This perspective of a state, as an object. Fields that are `Lazy` or not asked for are read when they are looked at."""
        return plan_for(cls, fields, viewer).see(state)

    @classmethod
    def dump(
        cls, state: Any, *, fields: Sequence[str] | None = None, viewer: Principal | None = None
    ) -> dict[str, Any]:
        """This perspective of a state, as JSON-able data."""
        return plan_for(cls, fields, viewer).dump(state)

    @classmethod
    def dumper(
        cls, *, fields: Sequence[str] | None = None, viewer: Principal | None = None
    ) -> Callable[[Any], dict[str, Any]]:
        """`dump` for one reader and one set of fields, which are checked now."""
        return plan_for(cls, fields, viewer).dump

    @overload
    @classmethod
    def many(
        cls,
        states: AsyncIterable[Any],
        *,
        fields: Sequence[str] | None = None,
        viewer: Principal | None = None,
        ahead: int = AHEAD,
    ) -> AsyncIterator[dict[str, Any]]: ...

    @overload
    @classmethod
    def many(
        cls,
        states: Iterable[Any],
        *,
        fields: Sequence[str] | None = None,
        viewer: Principal | None = None,
        ahead: int = AHEAD,
    ) -> Iterator[dict[str, Any]]: ...

    @classmethod
    def many(
        cls,
        states: Iterable[Any] | AsyncIterable[Any],
        *,
        fields: Sequence[str] | None = None,
        viewer: Principal | None = None,
        ahead: int = AHEAD,
    ) -> Iterator[dict[str, Any]] | AsyncIterator[dict[str, Any]]:
        """A `dump` of each state, as a stream, in the memory that `ahead` states take. An error comes in the place of its state.

        Up to `ahead` states are read ahead of an iterable, of an asynchronous one none.
        """
        plan = plan_for(cls, fields, viewer)
        if isinstance(states, AsyncIterable):
            return (plan.dump(state) async for state in states)
        return plan.many(states, ahead)

    @classmethod
    def json_schema(cls, *, fields: Sequence[str] | None = None, viewer: Principal | None = None) -> dict[str, Any]:
        """The JSON Schema of what `dump` gives this reader of these fields."""
        return plan_for(cls, fields, viewer).json_schema()

    @classmethod
    def shown(cls) -> tuple[str, ...]:
        """The names of the fields that readers see, redacted ones among them."""
        return tuple(name for name, declared in fields_of(cls).items() if declared.shown)

    @classmethod
    def scopes(cls) -> frozenset[str]:
        """The scopes that decide what a reader sees, of this perspective and those nested in it."""
        return scopes_of(cls)

    @classmethod
    def diff_schema(cls) -> DiffSchema:
        """How rows of this perspective are compared; made once. Raises Misconfigured for one without an identifier."""
        return diff_schema(cls)

    @classmethod
    def diff_row(cls, state: Any) -> dict[str, Any]:
        """A state as the row that `diff_schema` compares: every field, also what is redacted, for masks would all be equal."""
        return whole_plan(cls, None, frozenset()).dump(state)


RESERVED = frozenset(name for name in (*vars(Seen), *vars(Perspective)) if not name.startswith(("_", "model_")))

# SPDX-License-Identifier: Apache-2.0
"""Fields that only some readers may see: masked or left out for others, and in no text for anybody."""

import pickle
from typing import Annotated, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, TypeAdapter, computed_field

from nerv.errors import Forbidden, Misconfigured, SchemaMismatch
from nerv.perspectives import Identifier, Lazy, Perspective, Redacted, Source, computed
from nerv.types import Principal

HIJACKED = "7500"  # that nobody may read


def shouts(value: str) -> str:
    """A validator that tells what it was given."""
    if value.startswith("bad"):
        raise ValueError(f"{value} is wrong")
    return value


class Pilot(Perspective):
    """Nested, with a field of its own to hide."""

    name: str
    licence: Annotated[str, Redacted("crew:read")]


class Aircraft(Perspective):
    """With fields for the crew and for accounting."""

    tail: Annotated[str, Identifier()]
    code: Annotated[str, AfterValidator(shouts), Source("transponder.code"), Redacted("crew:read", mask="***")]
    price: Annotated[float, Redacted("accounts:read")]
    pilots: tuple[Pilot, ...] = ()
    captain: Annotated[Pilot | None, Lazy()] = None

    @computed
    def worth(self) -> float:
        """From what only accounting sees."""
        return 0.9 * self.price

    @computed
    def licensed(self) -> bool:
        """From what is hidden inside of another view."""
        return all(pilot.licence for pilot in self.pilots)

    @computed
    def lowest(self) -> Annotated[float, Redacted("accounts:read")]:
        """Hidden by itself, from what all may see."""
        return float(len(self.tail))


class Coded(Perspective):
    """Whose secrets are keys."""

    codes: Annotated[dict[str, int], Redacted("crew:read")]


STATE = {
    "tail": "N1",
    "transponder": {"code": HIJACKED},
    "price": 100.0,
    "pilots": [{"name": "ann", "licence": HIJACKED}],
    "captain": {"name": "bob", "licence": HIJACKED},
}
WHOLE = {
    "tail": "N1", "code": HIJACKED, "price": 100.0, "pilots": [{"name": "ann", "licence": HIJACKED}],
    "captain": {"name": "bob", "licence": HIJACKED}, "worth": 90.0, "licensed": True, "lowest": 2.0,
}  # fmt: skip
PUBLIC = {"tail": "N1", "code": "***", "pilots": [{"name": "ann"}], "captain": {"name": "bob"}}


def reader(*scopes: str) -> Principal:
    """Who holds these scopes."""
    return Principal("ann", "default", frozenset(scopes))


@pytest.mark.parametrize(
    ("viewer", "wanted"),
    [
        (None, PUBLIC),
        (reader(), PUBLIC),
        (reader("crew:write"), PUBLIC),
        (reader("*"), WHOLE),
        (reader("crew:read", "accounts:read"), WHOLE),
        (reader("crew:read"), {k: v for k, v in WHOLE.items() if k not in ("price", "worth", "lowest")}),
        (reader("accounts:read"), {**PUBLIC, "price": 100.0, "worth": 90.0, "lowest": 2.0}),
    ],
)
def test_a_reader_sees_what_the_scopes_allow(viewer: Principal | None, wanted: dict[str, Any]) -> None:
    """As data, in a stream, as an object, nested and lazy; what is computed from something hidden is hidden with it."""
    assert Aircraft.dump(STATE, viewer=viewer) == wanted
    assert list(Aircraft.many([STATE], viewer=viewer)) == [wanted]
    assert Aircraft.view(STATE, viewer=viewer).model_dump(mode="json") == wanted
    jsonschema.validate(wanted, Aircraft.json_schema(viewer=viewer))
    assert Aircraft.json_schema(viewer=viewer)["properties"].keys() >= wanted.keys()
    assert ("price" in Aircraft.json_schema(viewer=viewer)["properties"]) == ("price" in wanted)


def test_what_may_be_left_out_is_not_required_by_the_schema() -> None:
    """A computed field whose input is hidden in a nested view, of a perspective that hides nothing itself."""

    class Crew(Perspective):
        pilots: tuple[Pilot, ...]

        @computed
        def licences(self) -> list[str]:
            return [pilot.licence for pilot in self.pilots]

    assert Crew.dump(STATE) == {"pilots": [{"name": "ann"}]}
    assert Crew.json_schema()["required"] == ["pilots"]
    assert Crew.json_schema(viewer=reader("crew:read"))["required"] == ["pilots", "licences"]


def test_hidden_fields_are_not_even_read() -> None:
    """A state in which they are wrong, or missing, is shown to those who do not see them."""
    shown = {**PUBLIC, "pilots": [], "captain": None, "licensed": True}  # all of none
    assert Aircraft.dump({"tail": "N1", "price": "a lot"}) == shown


def test_asking_for_a_hidden_field_does_not_show_it() -> None:
    """It is left out, or masked, as in the whole view."""
    assert Aircraft.dump(STATE, fields=["tail", "price", "code", "worth"]) == {"tail": "N1", "code": "***"}
    assert Aircraft.dump(STATE, fields=["price"]) == {}


def test_looking_at_a_hidden_field_of_an_object_is_forbidden() -> None:
    """The refusal names the scope; also in nested views, lazy or not, and for computed fields."""
    view = Aircraft.view(STATE, viewer=reader("crew:write"))
    for owner, name, says in (
        (view, "code", "Aircraft.code is shown to readers with scope crew:read"),
        (view.pilots[0], "licence", "Pilot.licence is shown to readers with scope crew:read"),
        (view.captain, "licence", "Pilot.licence is shown"),
        (Aircraft.view(STATE, fields=["tail"]), "code", "Aircraft.code is shown"),
        (view, "price", "Aircraft.price is shown to readers with scope accounts:read"),
        (view, "worth", "Aircraft.price is shown"),
        (view, "licensed", "Pilot.licence is shown"),
        (view, "lowest", "Aircraft.lowest is shown to readers with scope accounts:read"),
    ):
        with pytest.raises(Forbidden, match=says):
            getattr(owner, name)


def test_secrets_are_in_no_repr_and_no_error() -> None:
    """Not even for readers who may see them, and not when a validator tells the value."""
    view = Aircraft.view(STATE, viewer=reader("*"))
    assert view.captain is not None
    assert (view.code, view.captain.licence) == (HIJACKED, HIJACKED)
    assert HIJACKED not in f"{view!r} {view} {view.captain!r} {view.pilots!r}"
    assert "code='<redacted>'" in repr(view)
    bad = {**STATE, "transponder": {"code": f"bad {HIJACKED}"}, "pilots": [{"name": "ann", "licence": [HIJACKED]}]}
    for look in (Aircraft.view, Aircraft.dump):
        with pytest.raises(SchemaMismatch) as raised:
            look(bad, viewer=reader("*"))
        assert [fault["path"] for fault in raised.value.errors] == ["/code", "/pilots/0/licence"]
        assert HIJACKED not in f"{raised.value} {raised.value.errors} {raised.value.problem()}"
    keyed = {**STATE, "codes": {HIJACKED: "x"}}
    with pytest.raises(SchemaMismatch) as raised:
        Coded.dump(keyed, viewer=reader("*"))
    assert raised.value.errors == [{"path": "/codes", "detail": "is not valid; the field is redacted"}]
    with pytest.raises(ValueError, match="Pilot") as constructed:
        Pilot.model_validate({"name": "ann", "licence": [HIJACKED]})
    assert HIJACKED not in str(constructed.value)


def test_what_leaves_the_process_holds_no_hidden_field() -> None:
    """A pickle of a view; and an object that was made by hand, which pydantic dumps for nobody in particular."""
    view = Aircraft.view(STATE)
    assert HIJACKED.encode() not in pickle.dumps(view)
    pilot = Pilot(name="ann", licence=HIJACKED)
    assert pilot.model_dump() == {"name": "ann"}
    assert HIJACKED not in TypeAdapter(list[Pilot]).dump_json([pilot]).decode()


SCOPES = st.sets(st.sampled_from(["crew:read", "accounts:read", "crew:write"]))
FIELDS = st.none() | st.lists(st.sampled_from([*WHOLE, "pilots.name", "pilots.licence", "captain.licence"]), min_size=1)


@given(SCOPES, FIELDS)
def test_no_question_shows_a_secret_to_who_may_not_see_it(scopes: set[str], fields: list[str] | None) -> None:
    """Whatever is asked for; and who may see all sees of it what was asked for."""
    viewer = reader(*scopes)
    shown = Aircraft.dump(STATE, fields=fields, viewer=viewer)
    whole = Aircraft.dump(STATE, viewer=viewer)
    view = Aircraft.view(STATE, fields=fields, viewer=viewer)
    assert view.model_dump(mode="json") == shown
    assert shown.keys() <= whole.keys()
    if "crew:read" not in scopes:
        assert HIJACKED not in f"{shown} {view.model_dump()} {view.model_dump_json()} {pickle.dumps(view)!r}"
    if "accounts:read" not in scopes:
        assert not shown.keys() & {"price", "worth", "lowest"}
    if {"crew:read", "accounts:read"} <= scopes:
        assert shown.keys() == set(WHOLE if fields is None else {field.partition(".")[0] for field in fields})
    jsonschema.validate(shown, Aircraft.json_schema(fields=fields, viewer=viewer))


def test_a_row_to_compare_holds_everything() -> None:
    """Or two rows with other secrets would be equal behind their masks."""
    schema, row = Aircraft.diff_schema(), Aircraft.diff_row(STATE)
    assert row == WHOLE
    assert schema.differences(row, Aircraft.diff_row({**STATE, "transponder": {"code": "7700"}})) == ("code",)
    assert Aircraft.scopes() == {"crew:read", "accounts:read"}


def test_a_redaction_without_a_scope_is_refused() -> None:
    """It would hide the field from everybody, or from nobody."""
    with pytest.raises(Misconfigured, match="names the scope"):
        Redacted("")


def test_a_redacted_field_is_computed_by_our_decorator() -> None:
    """That of pydantic would show it in views as objects."""
    with pytest.raises(Misconfigured, match="declare it by @computed"):

        class Open(Perspective):
            @computed_field  # type: ignore[prop-decorator]  # pydantic's documented form
            @property
            def price(self) -> Annotated[int, Redacted("accounts:read")]:
                return 1

# SPDX-License-Identifier: Apache-2.0
"""Objects of several kinds: a run of one sync runs those that are under it, between what it makes and what it removes."""

from collections.abc import Callable, Sequence

import pytest

import nerv.sync
from nerv.client import Client
from nerv.errors import Invalid, Misconfigured, Unavailable
from nerv.protocols.side import Action, Side, Step, WriteOutcome
from nerv.sync import RowsSource
from nerv.sync.sides import MappingSide
from nerv.types import new_event_id
from nerv_sync.below import Below
from nerv_sync.model import Document, Order
from tests.unit.sync.bench import Stage

Check = Callable[[Step], bool]


class Guarded(MappingSide):
    """A table with foreign keys: a step that breaks one is refused, as a database does."""

    allows: Check
    away = 0  # batches that are answered so

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Write what the other tables allow."""
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        good = [step for step in steps if self.allows(step)]
        done = dict(zip([step.key for step in good], await super().write(good), strict=True))
        return [done.get(step.key) or Invalid(f"{step.key} breaks a foreign key") for step in steps]


class Site(Stage):
    """Racks stand at sites, devices in racks; all of it in one inventory that follows another one."""

    def __init__(self) -> None:
        super().__init__()
        self.left = {name: MappingSide(name) for name in ("sites", "racks", "devices")}
        self.known: dict[str, list[str]] = {name: [] for name in self.left}
        self.right = {name: Guarded(f"{name}.right") for name in self.left}
        self._hang("sites", None, "racks")
        self._hang("racks", "sites", "devices")
        self._hang("devices", "racks", None)

    def _hang(self, name: str, above: str | None, below: str | None) -> None:
        left, right = self.left[name], self.right[name]

        def allows(step: Step) -> bool:
            parent, _, _ = step.key.rpartition("/")
            if step.action is Action.DELETE:
                return below is None or not any(key.startswith(f"{step.key}/") for key in self.keys(below))
            return above is None or parent in self.right[above]

        right.allows = allows

        class Kind(nerv.sync.Pair):
            identifiers = ("key",)
            under = above
            delete_guard = 1.0

            def left(self, mesh: Client) -> Side:
                return left

            def right(self, mesh: Client) -> Side:
                return right

        self.app.sync(name)(Kind)

    def put(self, name: str, *keys: str) -> None:
        """What leads has these."""
        for key in keys:
            self.left[name].put(key, {"key": key})
            self.known[name].append(key)

    def keys(self, name: str) -> list[str]:
        """What is there on the side that follows."""
        return [key for key in self.known[name] if key in self.right[name]]

    def everything(self) -> list[str]:
        """On that side, of all kinds."""
        return sorted(key for name in self.right for key in self.keys(name))

    async def run(self, name: str, run: str | None = None, *, dry_run: bool = False) -> Document:
        """One run."""
        async with self.replica() as runs:
            return await runs.order(Order(name, run or new_event_id(), dry_run))


@pytest.fixture
async def site() -> Site:
    """Two sites with racks and devices, equal on both sides."""
    made = Site()
    made.put("sites", "a", "b")
    made.put("racks", "a/1", "b/1")
    made.put("devices", "a/1/x", "b/1/x")
    assert (await made.run("sites"))["status"] == "done"
    return made


async def test_parents_of_another_sync_are_made_before_and_removed_after_their_children(site: Site) -> None:
    """In one run of the sync above all, though each kind alone would break a foreign key."""
    assert site.everything() == ["a", "a/1", "a/1/x", "b", "b/1", "b/1/x"]
    site.put("sites", "c")
    site.put("racks", "c/1")
    site.put("devices", "c/1/x")
    for name, key in (("sites", "a"), ("racks", "a/1"), ("devices", "a/1/x")):
        site.left[name].remove(key)
    document = await site.run("sites", "all")
    assert document["status"] == "done"
    assert site.everything() == ["b", "b/1", "b/1/x", "c", "c/1", "c/1/x"]
    racks = document["below"]["racks"]
    assert (racks["run"], racks["summary"]["create"], racks["summary"]["delete"]) == ("all-under-sites", 1, 1)
    assert racks["below"]["devices"]["outcomes"]["done"] == 2
    [noted, _] = await site.journal().runs("racks")
    assert (noted["run"], noted["cause"]) == ("all-under-sites", "parents")


async def test_a_dry_run_is_one_of_all_kinds(site: Site) -> None:
    """Nothing is changed; each plan is kept under its id."""
    site.put("sites", "c")
    site.put("racks", "c/1")
    document = await site.run("sites", dry_run=True)
    assert (document["status"], document["summary"]["create"]) == ("planned", 1)
    racks = document["below"]["racks"]
    assert (racks["status"], racks["summary"]["create"]) == ("planned", 1)
    assert (await site.shelf().load("racks", racks["plan"])).plan.steps[0].key == "c/1"
    assert "c" not in site.everything()


async def test_while_something_is_left_below_nothing_is_removed_above(site: Site) -> None:
    """The racks are refused, for their side is empty: sites are made, and none is removed; the next run does it."""
    site.put("sites", "c")
    site.left["sites"].remove("a")
    site.left["devices"].remove("a/1/x")
    for key in ("a/1", "b/1"):
        site.left["racks"].remove(key)
    document = await site.run("sites")
    assert (document["status"], document["outcomes"]["untried"]) == ("conflicts", 1)
    assert document["below"]["racks"]["status"] == "refused"
    assert "is empty" in document["below"]["racks"]["problem"]["detail"]
    assert site.keys("sites") == ["a", "b", "c"]
    site.left["racks"].put("b/1", {"key": "b/1"})
    assert (await site.run("sites"))["status"] == "done"
    assert site.everything() == ["b", "b/1", "b/1/x", "c"]


async def test_a_run_that_was_cut_off_below_goes_on_there(site: Site) -> None:
    """The racks are away: repeated, the order makes no site twice, and removes what it has to at last."""
    site.put("sites", "c")
    site.put("racks", "c/1")
    for name, key in (("sites", "a"), ("racks", "a/1"), ("devices", "a/1/x")):
        site.left[name].remove(key)
    site.right["racks"].away = 1
    with pytest.raises(Unavailable):
        await site.run("sites", "again")
    assert site.keys("sites") == ["a", "b", "c"]
    document = await site.run("sites", "again")
    assert (document["status"], document["resumed"], document["outcomes"]["done"]) == ("done", 1, 2)
    assert site.everything() == ["b", "b/1", "b/1/x", "c", "c/1"]


async def test_a_run_of_a_sync_below_is_of_its_own_objects(site: Site) -> None:
    """Nothing of the kind above is done; neither is a run of a part."""
    site.put("sites", "c")
    site.put("racks", "b/2")
    document = await site.run("racks")
    assert (document["status"], "racks" in document["below"]) == ("done", False)
    assert "c" not in site.everything()
    async with site.replica() as runs:
        part = await runs.order(Order("sites", "part", where=("key=c",)))
    assert (part["status"], part.get("below")) == ("done", None)


@pytest.mark.parametrize(
    ("told", "whole"),
    [
        ({"status": "done"}, True),
        ({"status": "done", "asked": ["a/1"]}, False),
        ({"status": "conflicts"}, False),
        ({"status": "unknown"}, False),
        ({"status": "planned", "summary": {"create": 0, "unchanged": 3}}, True),
        ({"status": "planned", "summary": {"delete": 1, "unchanged": 3}}, False),
    ],
)
async def test_what_is_left_below_is_known_by_its_document(told: Document, whole: bool) -> None:
    """What waits for a person, or for an approval, still stands under what would be removed; a name has its bounds."""
    asked: list[Order] = []

    async def run(order: Order) -> Document:
        asked.append(order)
        return order.to_dict() | told

    racks = Site().pairs().make("racks")
    assert await Below(Order("sites", "r"), {"racks": racks}, run).run() is whole
    await Below(Order("sites", "r" * 128), {"racks": racks}, run).run()
    assert [len(order.run) for order in asked] == [len("r-under-sites"), 32]


@pytest.mark.parametrize(
    ("under", "words"),
    [({"a": "b", "b": "a"}, "a → b → a"), ({"a": "a"}, "a → a"), ({"a": "zoo"}, "under 'zoo', which is none")],
)
def test_syncs_are_under_others_that_are_there(under: dict[str, str], words: str) -> None:
    """Neither under each other nor under themselves: refused at the start."""
    stage = Stage()
    for name, above in under.items():
        attributes = {"under": above, "identifiers": ("key",), "left": None, "right": None}
        stage.app.sync(name)(type(name, (nerv.sync.Pair,), attributes))
    with pytest.raises(Misconfigured, match=words):
        stage.pairs()


def test_a_source_may_be_under_another_one() -> None:
    """Then its streams follow after those that they hang under."""
    stage = Stage()
    for name, above in (("sites", None), ("racks", "sites")):
        attributes = {"category": name, "key": "key", "rows": lambda self: iter(()), "under": above}
        stage.app.source(name)(type(name, (RowsSource,), attributes))
    assert list(stage.pairs().below("sites")) == ["racks"]
    assert stage.pairs().row("racks")["under"] == "sites"

# SPDX-License-Identifier: Apache-2.0
"""What every implementation of the view port must do. Inherit, and give a fixture `views` with an empty store."""

from nerv.projections.indexes import parts, span
from nerv.protocols.views import Cursor, Epoch, Move, Span, Verdict, View, Views

FIRST = Epoch("first", {"m.history.v1": "id-1"}, indexes={"at": "how", "by": "how"})
SECOND = Epoch("second", {"m.history.v1": "id-2"})
ZERO = Cursor("id-1", 0)


async def begun(views: Views) -> Epoch:
    """A store in which the first epoch has begun, with two partitions."""
    return await views.begin(FIRST, {0: ZERO, 1: ZERO}, instead_of=None)


def step(seen: Cursor, next_offset: int, folded: int = 1) -> Move:
    """A move of a cursor to an offset."""
    return Move(seen.to_bytes(), Cursor(seen.topic_id, next_offset, seen.origins), folded)


async def members(views: Views, within: Span, limit: int, *, backward: bool = False) -> list[str]:
    """Of the index of the first epoch; each must come with the view that has its entry."""
    found = await views.page(FIRST, None, limit, within, backward=backward)
    assert all(parts(one)[0] in view.index for one, view in found)
    return [one for one, _ in found]


class ViewsContract:
    """The suite."""

    async def test_an_empty_store_has_no_epoch(self, views: Views) -> None:
        """Before the first begin there is no epoch, and nothing can be read of one."""
        assert await views.epoch() is None
        progress = await views.progress(FIRST)
        assert (dict(progress.cursors), progress.folded, progress.entities) == ({}, 0, 0)
        assert await views.load(FIRST, ["a"]) == {}
        assert await views.page(FIRST, None, 10) == []

    async def test_begin_sets_the_first_cursors(self, views: Views) -> None:
        """An epoch begins with a cursor for each partition, and remembers its topics."""
        assert await begun(views) == FIRST
        assert await views.epoch() == FIRST
        assert {p: Cursor.from_bytes(c) for p, c in (await views.progress(FIRST)).cursors.items()} == {0: ZERO, 1: ZERO}

    async def test_the_second_to_begin_gets_the_first_epoch(self, views: Views) -> None:
        """Of two that begin at once one wins, and the other learns which."""
        await begun(views)
        assert await views.begin(SECOND, {0: ZERO}, instead_of=None) == FIRST
        assert await views.begin(SECOND, {0: ZERO}, instead_of=SECOND) == FIRST

    async def test_a_new_epoch_begins_empty(self, views: Views) -> None:
        """Views of the epoch before are not seen in the one that replaces it."""
        await begun(views)
        await views.apply(FIRST, {0: step(ZERO, 1)}, {"a": View(1, b'{"n":1}')})
        assert await views.begin(SECOND, {0: ZERO}, instead_of=FIRST) == SECOND
        assert await views.load(SECOND, ["a"]) == {}
        assert (await views.progress(SECOND)).folded == 0

    async def test_views_and_cursors_are_written_together(self, views: Views) -> None:
        """A batch over two partitions writes its views, moves both cursors and counts its events."""
        await begun(views)
        written = {"a": View(2, b'{"n":2}'), "b": View(1, b"null", {"cause": "ValueError: no"})}
        assert await views.apply(FIRST, {0: step(ZERO, 7, 2), 1: step(ZERO, 3)}, written) is Verdict.DONE
        assert await views.load(FIRST, ["b", "missing", "a"]) == written
        progress = await views.progress(FIRST)
        assert {p: Cursor.from_bytes(c).next_offset for p, c in progress.cursors.items()} == {0: 7, 1: 3}
        assert (progress.folded, progress.entities, progress.parked) == (3, 2, 1)

    async def test_a_deposed_owner_writes_nothing(self, views: Views) -> None:
        """A batch that continues an old cursor is refused whole, also where only one of its cursors is old."""
        await begun(views)
        await views.apply(FIRST, {0: step(ZERO, 5)}, {"a": View(1, b"1")})
        verdict = await views.apply(
            FIRST, {1: step(ZERO, 9), 0: step(ZERO, 6)}, {"a": View(9, b"9"), "c": View(1, b"1")}
        )
        assert verdict is Verdict.MOVED
        assert await views.load(FIRST, ["a", "c"]) == {"a": View(1, b"1")}
        assert Cursor.from_bytes((await views.progress(FIRST)).cursors[1]) == ZERO

    async def test_a_partition_without_a_cursor_is_refused(self, views: Views) -> None:
        """A store that has lost a cursor does not take up at any other."""
        await begun(views)
        assert await views.apply(FIRST, {2: step(ZERO, 1)}, {"a": View(1, b"1", partition=2)}) is Verdict.MOVED

    async def test_an_epoch_that_is_over_takes_no_writes(self, views: Views) -> None:
        """After another epoch has begun the old one is refused."""
        await begun(views)
        await views.begin(SECOND, {0: ZERO}, instead_of=FIRST)
        assert await views.apply(FIRST, {0: step(ZERO, 1)}, {"a": View(1, b"1")}) is Verdict.REPLACED

    async def test_a_store_that_was_never_begun_takes_no_writes(self, views: Views) -> None:
        """Without an epoch every write is refused, as after a wipe."""
        assert await views.apply(FIRST, {0: step(ZERO, 1)}, {"a": View(1, b"1")}) is Verdict.REPLACED

    async def test_pages_are_in_order_and_without_gap(self, views: Views) -> None:
        """Pages of any size hold every view once, in order of the keys' bytes."""
        await begun(views)
        keys = ["b", "a", "ö", "z", "a:1", "a b"]
        await views.apply(FIRST, {0: step(ZERO, 6)}, {key: View(1, b"1") for key in keys})
        found: list[str] = []
        while page := await views.page(FIRST, found[-1] if found else None, 2):
            found += [key for key, _ in page]
        assert found == sorted(keys, key=str.encode)

    async def test_an_index_holds_what_views_are_found_by(self, views: Views) -> None:
        """In order of the values, then of the keys, both ways, within a span, a part at a time."""
        await begun(views)
        found_by = {
            "b": ("at\x01EWR",),
            "a": ("at\x01EWR", "at\x01JFK"),
            "c": ("at\x01E",),
            "d": ("by\x01EWR",),
            "e": (),
        }
        written = {key: View(1, b"1", None, index) for key, index in found_by.items()}
        await views.apply(FIRST, {0: step(ZERO, 1)}, written)
        assert await views.load(FIRST, list(written)) == written
        every = span("at", str)
        wanted = ["at\x01E\x01c", "at\x01EWR\x01a", "at\x01EWR\x01b", "at\x01JFK\x01a"]
        assert await members(views, every, 10) == wanted
        assert await members(views, every, 10, backward=True) == wanted[::-1]
        for backward in (False, True):
            left, pages = every, list[str]()
            while page := await members(views, left, 1, backward=backward):
                pages += page
                left = left.beyond(page[-1].encode(), backward=backward)
            assert pages == (wanted[::-1] if backward else wanted)
        assert await members(views, span("at", str, equals="EWR"), 10) == wanted[1:3]

    async def test_an_index_follows_the_views(self, views: Views) -> None:
        """What a view is found by no more is gone from the index, with the view's very write; a refused one leaves it."""
        await begun(views)
        first = step(ZERO, 1)
        await views.apply(FIRST, {0: first}, {"a": View(1, b"1", None, ("at\x01EWR", "at\x01LGA")), "b": View(1, b"1")})
        now = {"a": View(2, b"2", None, ("at\x01JFK", "at\x01LGA")), "b": View(2, b"2", None, ("at\x01BOS",))}
        assert await views.apply(FIRST, {0: step(ZERO, 2)}, now) is Verdict.MOVED
        assert await members(views, span("at", str), 10) == ["at\x01EWR\x01a", "at\x01LGA\x01a"]
        assert await views.apply(FIRST, {0: step(first.cursor, 2)}, now) is Verdict.DONE
        wanted = ["at\x01BOS\x01b", "at\x01JFK\x01a", "at\x01LGA\x01a"]
        assert await members(views, span("at", str), 10) == wanted
        await views.begin(SECOND, {0: ZERO}, instead_of=FIRST)
        await views.drop(FIRST)
        assert await members(views, span("at", str), 10) == []

    async def test_parked_keys_are_told_by_partition(self, views: Views) -> None:
        """A key is parked from the write on that says so; one that is mended and is not parked again is parked no more."""
        await begun(views)
        why = {"cause": "ValueError: no"}
        first, other = step(ZERO, 1), step(ZERO, 1)
        written = {
            "a": View(1, b"1", why),
            "b": View(1, b"1", why),
            "c": View(1, b"1", why, partition=1),
            "d": View(1, b"1"),
        }
        await views.apply(FIRST, {0: first, 1: other}, written)
        assert {p: n for p, n in (await views.progress(FIRST)).parked_in.items() if n} == {0: 2, 1: 1}
        assert await views.page(FIRST, None, 10, parked=True) == [(key, written[key]) for key in "abc"]
        assert [key for key, _ in await views.page(FIRST, "a", 1, parked=True)] == ["b"]
        mended = {"a": View(2, b"2"), "b": View(2, b"2", why)}
        refused = Move(ZERO.to_bytes(), first.cursor, 2, frozenset(mended))
        assert await views.apply(FIRST, {0: refused}, mended) is Verdict.MOVED
        assert (await views.progress(FIRST)).parked == 3
        cursor = Cursor("id-1", 1, mends=1)
        await views.apply(FIRST, {0: Move(first.cursor.to_bytes(), cursor, 2, frozenset(mended))}, mended)
        assert {p: n for p, n in (await views.progress(FIRST)).parked_in.items() if n} == {0: 1, 1: 1}
        assert [key for key, _ in await views.page(FIRST, None, 10, parked=True)] == ["b", "c"]
        assert Cursor.from_bytes((await views.progress(FIRST)).cursors[0]).mends == 1

    async def test_the_size_grows_and_shrinks_with_the_views(self, views: Views) -> None:
        """By the bytes that are stored of them."""
        await begun(views)
        first = step(ZERO, 1)
        await views.apply(FIRST, {0: first}, {"a": View(1, b"1" * 1000), "b": View(1, b"1")})
        large = (await views.progress(FIRST)).size
        assert 1000 < large < 1100
        await views.apply(FIRST, {0: step(first.cursor, 2)}, {"a": View(2, b"1")})
        assert (await views.progress(FIRST)).size_in == {0: large - 999}

    async def test_origins_survive(self, views: Views) -> None:
        """The cursor of a rekeyed partition keeps its origins."""
        await begun(views)
        cursor = Cursor("id-1", 12, {0: 5 << 10, 3: 7})
        await views.apply(FIRST, {0: Move(ZERO.to_bytes(), cursor)}, {})
        assert Cursor.from_bytes((await views.progress(FIRST)).cursors[0]) == cursor

    async def test_an_epoch_remembers_where_it_began_and_what_for(self, views: Views) -> None:
        """Topics, the way from its first offsets to its goal, the code, and its indexes."""
        epoch = Epoch("third", {"m.history.v1": "id-1"}, {0: 3, 1: 0}, {0: 9, 1: 0}, "code", {"at": "how"})
        await views.begin(epoch, {0: ZERO, 1: ZERO}, instead_of=None)
        assert await views.epoch() == epoch

    async def test_dropping_spares_the_present_epoch(self, views: Views) -> None:
        """Dropping deletes an epoch that is over and nothing else."""
        await begun(views)
        await views.apply(FIRST, {0: step(ZERO, 1)}, {"a": View(1, b"1")})
        await views.drop(FIRST)
        assert await views.load(FIRST, ["a"]) == {"a": View(1, b"1")}
        await views.begin(SECOND, {0: ZERO}, instead_of=FIRST)
        await views.drop(FIRST)
        await views.drop(FIRST)
        assert await views.load(FIRST, ["a"]) == {}
        assert (await views.progress(FIRST)).entities == 0
        assert await views.epoch() == SECOND

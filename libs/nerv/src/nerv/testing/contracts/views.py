# SPDX-License-Identifier: Apache-2.0
"""What every implementation of the view port must do. Inherit, and give a fixture `views` with an empty store."""

from nerv.protocols.views import Cursor, Epoch, Move, Verdict, View, Views

FIRST = Epoch("first", {"m.history.v1": "id-1"})
SECOND = Epoch("second", {"m.history.v1": "id-2"})
ZERO = Cursor("id-1", 0)


async def begun(views: Views) -> Epoch:
    """A store in which the first epoch has begun, with two partitions."""
    return await views.begin(FIRST, {0: ZERO, 1: ZERO}, instead_of=None)


def step(seen: Cursor, next_offset: int, folded: int = 1) -> Move:
    """A move of a cursor to an offset."""
    return Move(seen.to_bytes(), Cursor(seen.topic_id, next_offset, seen.origins), folded)


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
        assert await views.apply(FIRST, {2: step(ZERO, 1)}, {"a": View(1, b"1")}) is Verdict.MOVED

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

    async def test_origins_survive(self, views: Views) -> None:
        """The cursor of a rekeyed partition keeps its origins."""
        await begun(views)
        cursor = Cursor("id-1", 12, {0: 5 << 10, 3: 7})
        await views.apply(FIRST, {0: Move(ZERO.to_bytes(), cursor)}, {})
        assert Cursor.from_bytes((await views.progress(FIRST)).cursors[0]) == cursor

    async def test_an_epoch_remembers_where_it_began_and_what_for(self, views: Views) -> None:
        """Topics, the way from its first offsets to its goal, and the code."""
        epoch = Epoch("third", {"m.history.v1": "id-1"}, {0: 3, 1: 0}, {0: 9, 1: 0}, "code")
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

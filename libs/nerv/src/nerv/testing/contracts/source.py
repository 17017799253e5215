# SPDX-License-Identifier: Apache-2.0
"""What every source promises. Inherit it, and give a fixture `make` that makes a source of rows of texts."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import orjson
import pytest

from nerv.protocols.source import Complete, Row, Source
from nerv.sync.errors import LoadRefused
from nerv.sync.loading import load_whole

Make = Callable[[Sequence[Mapping[str, str | None]]], Source]

PLANES: list[dict[str, str | None]] = [
    {"tailnum": "N14228", "model": "737-824", "note": 'said "no", twice'},
    {"tailnum": "N24211", "model": None, "note": "São Paulo,\nGuarulhos"},
    {"tailnum": "N619AA", "model": "757-223", "note": "1.0"},
]


class SourceContract:
    """Rows have the columns tailnum, model and note; the category is `plane`, the key `tailnum`."""

    def test_every_row_comes_once_and_then_the_mark(self, make: Make) -> None:
        """Rows in their order, their content as it is, and at the end a mark that counts them."""
        *rows, last = make(PLANES).load()
        assert all(isinstance(row, Row) for row in rows)
        assert [orjson.loads(row.content) for row in rows if isinstance(row, Row)] == PLANES
        assert isinstance(last, Complete)
        assert last.rows == 3
        assert last.instant.tzinfo is not None
        assert last.instant <= datetime.now(UTC)

    def test_equal_rows_are_equal_bytes(self, make: Make) -> None:
        """The order of the columns does not count."""
        turned = [dict(reversed(row.items())) for row in PLANES]
        one, two = load_whole(make(PLANES), 10), load_whole(make(turned), 10)
        assert {k: r.content for k, r in one.rows.items()} == {k: r.content for k, r in two.rows.items()}

    def test_a_source_can_be_loaded_again(self, make: Make) -> None:
        """Two loads of one source give the same."""
        source = make(PLANES)
        assert load_whole(source, 10).rows == load_whole(source, 10).rows

    def test_a_row_without_a_key_is_refused(self, make: Make) -> None:
        """The refusal says where the row is, and no mark is given."""
        with pytest.raises(LoadRefused, match="tailnum"):
            list(make([PLANES[0], {**PLANES[1], "tailnum": None}]).load())

    def test_a_double_key_is_refused(self, make: Make) -> None:
        """Of two rows with one key nobody knows which holds."""
        with pytest.raises(LoadRefused, match="unique"):
            load_whole(make([PLANES[0], PLANES[1], PLANES[0]]), 10)

    def test_a_key_that_no_stream_can_have_is_refused(self, make: Make) -> None:
        """Control characters and excessive length do not get into a stream's name."""
        for key in ("a\nb", "x" * 300):
            with pytest.raises(LoadRefused, match="stream"):
                load_whole(make([{**PLANES[0], "tailnum": key}]), 10)

    def test_an_empty_source_is_refused(self, make: Make) -> None:
        """Nothing is not proof that everything is gone."""
        with pytest.raises(LoadRefused, match="empty"):
            load_whole(make([]), 10)

    def test_more_rows_than_the_bound_are_refused(self, make: Make) -> None:
        """A load is bounded."""
        with pytest.raises(LoadRefused, match="more than 2 rows"):
            load_whole(make(PLANES), 2)

    def test_it_describes_itself(self, make: Make) -> None:
        """Its category, its key and its kind are known without a load."""
        source = make(PLANES)
        assert (source.category, source.key) == ("plane", "tailnum")
        told = source.describe()
        assert told.kind
        assert told.outputs == ("plane-*",)

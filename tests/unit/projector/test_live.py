# SPDX-License-Identifier: Apache-2.0
"""Whether a reader that comes back may go on where it was."""

import pytest

from nerv_projector.live import holds

BOUNDS = {0: (10, 20), 1: (0, 0)}


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        ({0: 10, 1: 0}, True),
        ({0: 20, 1: 0}, True),
        ({0: 9, 1: 0}, False),  # what came then has expired
        ({0: 21, 1: 0}, False),  # of a topic that was made anew
        ({0: 20}, False),
    ],
)
def test_a_reader_goes_on_only_where_nothing_is_missing(after: dict[int, int], wanted: bool) -> None:
    """Otherwise it gets the views again: deltas that are gone would be passed over unseen."""
    assert holds(BOUNDS, after) is wanted

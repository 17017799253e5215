# SPDX-License-Identifier: Apache-2.0
"""What is shown while history is verified."""

from io import StringIO

from rich.console import Console

from nerv.cli.upkeep import VerifyBar
from nerv.client.streams import _passed


def shown(*, terminal: bool) -> str:
    """What the bar prints when a quarter is done."""
    out = StringIO()
    with VerifyBar(Console(file=out, width=100, force_terminal=terminal), shown=terminal) as bar:
        bar.reached(1000, *_passed("0:100-800,1:400-1200,12:0-0"))
    return out.getvalue()


def test_the_bar_shows_the_share_that_is_done() -> None:
    """In events and in parts of a hundred, from the token of a page; nothing where nobody looks."""
    assert "1,000 events verified" in shown(terminal=True)
    assert "25%" in shown(terminal=True)
    assert shown(terminal=False).strip() == ""

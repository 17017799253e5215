# SPDX-License-Identifier: Apache-2.0
"""A stream's name is `<category>-<entity>`: `aircraft-N14228` is entity `N14228` of category `aircraft`."""


def category_of(stream: str) -> str:
    """The part before the first dash."""
    return stream.partition("-")[0]


def entity_of(stream: str) -> str:
    """The part after the first dash; a name without one is its own entity."""
    category, _, entity = stream.partition("-")
    return entity or category

# SPDX-License-Identifier: Apache-2.0
"""Collections of JSON over HTTP as sides."""

from nerv.sync.sides.http.feed import Feed
from nerv.sync.sides.http.source import HttpSource

__all__ = ["Feed", "HttpSource"]

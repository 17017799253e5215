# SPDX-License-Identifier: Apache-2.0
"""History without I/O: what an append may do, which events a query selects, and in which order a state is folded."""

from nerv.history.decide import Accept, Duplicate, Known, StreamView, content_digest, judge
from nerv.history.fold import fold_stream, valid_time_order
from nerv.history.json_fold import JsonFold
from nerv.history.select import named, selector

__all__ = [
    "Accept",
    "Duplicate",
    "JsonFold",
    "Known",
    "StreamView",
    "content_digest",
    "fold_stream",
    "judge",
    "named",
    "selector",
    "valid_time_order",
]

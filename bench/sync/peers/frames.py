# SPDX-License-Identifier: Apache-2.0
"""The peer: anti-joins of two Polars frames over all columns, from the same rows. So many objects, so many changed. Prints
objects a second of rows, frames and joins together, and of the joins alone.
"""

import sys
import time
from itertools import islice

import polars as pl

from bench.sync.rows import ATTRIBUTES, rows

SCHEMA = {
    "tailnum": pl.String, "year": pl.Int64, "type": pl.String, "manufacturer": pl.String, "model": pl.String,
    "engines": pl.Int64, "seats": pl.Int64, "speed": pl.Int64, "engine": pl.String,
}  # fmt: skip
BATCH = 50_000


def frame(given):
    """A frame of rows, made in batches, which takes less time and memory than all at once."""
    parts = []
    while batch := list(islice(given, BATCH)):
        parts.append(pl.DataFrame(batch, schema=SCHEMA))
    return pl.concat(parts)


def main() -> None:
    """Run, and print the figures."""
    count, changed = int(sys.argv[1]), int(sys.argv[2])
    began = time.perf_counter()
    left, right = frame(rows(count)), frame(rows(count, count // changed, 1))
    made = time.perf_counter()
    columns = ["tailnum", *ATTRIBUTES]
    differing = left.join(right, on=columns, how="anti", nulls_equal=True)
    gone = right.join(left, on="tailnum", how="anti")
    ended = time.perf_counter()
    assert abs(len(differing) - changed) <= 1 + count % changed, len(differing)
    assert not len(gone)
    sys.stdout.write(f"{count / (ended - made)} {count / (ended - began)}\n")


if __name__ == "__main__":
    main()

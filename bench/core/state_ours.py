# SPDX-License-Identifier: Apache-2.0
"""Ours: apply a delta of one field to a state of so many keys. Prints applications a second."""

import sys
import time

from nerv.state import changed, freeze

if __name__ == "__main__":
    keys, count = int(sys.argv[1]), int(sys.argv[2])
    state = freeze({f"key-{number}": number for number in range(keys)})
    new, delta = changed(state, ("key-7",), -1)
    began = time.perf_counter()
    for _ in range(count):
        found = delta.apply(state)
    seconds = time.perf_counter() - began
    assert found == new
    sys.stdout.write(f"{count / seconds}\n")

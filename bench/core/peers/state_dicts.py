# SPDX-License-Identifier: Apache-2.0
"""The peer: find out which field of a dict of so many keys has changed. Prints comparisons a second."""

import sys
import time

if __name__ == "__main__":
    keys, count = int(sys.argv[1]), int(sys.argv[2])
    old = {f"key-{number}": number for number in range(keys)}
    new = {**old, "key-7": -1}
    began = time.perf_counter()
    for _ in range(count):
        found = {key: value for key, value in new.items() if old.get(key) != value}
    seconds = time.perf_counter() - began
    assert found == {"key-7": -1}
    sys.stdout.write(f"{count / seconds}\n")

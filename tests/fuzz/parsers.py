# SPDX-License-Identifier: Apache-2.0
"""`RUNS [CORPUS]`: the parsers under Atheris, which looks for input that takes another way through them. Ends with 77 at a crash.

The first byte of an input chooses the parser, so that one corpus serves all.
"""

import sys

import atheris

with atheris.instrument_imports(
    include=["nerv.cloudevents", "nerv.limits", "nerv.types", "nerv_broker", "nerv.kafka.deadletters"]
):
    from tests.fuzz.targets import TARGETS


def one(data: bytes) -> None:
    """One input."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


if __name__ == "__main__":
    runs, *corpus = sys.argv[1:]
    atheris.Setup([sys.argv[0], f"-atheris_runs={runs}", "-max_len=2048", "-print_final_stats=1", *corpus], one)
    atheris.Fuzz()

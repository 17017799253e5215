# SPDX-License-Identifier: Apache-2.0
"""Measurements: ours and a peer in the same run, interleaved, the median of five. `make bench SUITE=produce`."""

# SPDX-License-Identifier: Apache-2.0
"""Fault runs: real processes killed under load, and invariants that must hold. `make faults SUITE=temporal`."""

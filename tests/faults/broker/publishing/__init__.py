# SPDX-License-Identifier: Apache-2.0
"""Faults of the broker: events that are published once, and those who subscribe."""

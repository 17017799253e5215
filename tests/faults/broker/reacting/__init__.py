# SPDX-License-Identifier: Apache-2.0
"""Reactions: each effect once, whatever is killed, fails, or is poison."""

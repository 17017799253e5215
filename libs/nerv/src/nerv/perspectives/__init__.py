# SPDX-License-Identifier: Apache-2.0
"""Perspectives: the same state, seen by different kinds of readers."""

from nerv.perspectives.base import Perspective

__all__ = ["Perspective"]

# SPDX-License-Identifier: Apache-2.0
"""The type variables that every generic part of the library uses, each with one meaning."""

from typing import TypeVar

T = TypeVar("T")  # data of an event; anything that is carried and not looked into
S = TypeVar("S")  # a state
R = TypeVar("R")  # a result: what an effect, a task or a resource gives
E = TypeVar("E")  # an event, or what a fold takes for one
V = TypeVar("V")  # a value under a key
P = TypeVar("P")  # a perspective of a state
K = TypeVar("K")  # a key

# SPDX-License-Identifier: Apache-2.0
"""Deciders: the rules of an app, as pure functions of a state and a command. `nerv.deciders.decider` runs them."""

from nerv.deciders.refusal import Refusal, refuse

__all__ = ["Refusal", "refuse"]

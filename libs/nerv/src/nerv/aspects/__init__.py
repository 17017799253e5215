# SPDX-License-Identifier: Apache-2.0
"""Concerns that many functions share, written once and woven around them: aspects, and the weaver."""

from nerv.aspects.model import Answer, Aspect, Call, Steps
from nerv.aspects.places import Selector
from nerv.aspects.standard import Guarded, Logged, Measured, Secured, Traced, acting
from nerv.aspects.weaver import AspectWeaver, Weaving

__all__ = [
    "Answer",
    "Aspect",
    "AspectWeaver",
    "Call",
    "Guarded",
    "Logged",
    "Measured",
    "Secured",
    "Selector",
    "Steps",
    "Traced",
    "Weaving",
    "acting",
]

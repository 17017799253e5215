# SPDX-License-Identifier: Apache-2.0
"""An effect is data that asks the world for something; a handler performs it."""

from typing import ClassVar, Generic

from nerv.types.frozen import frozen
from nerv.types.variables import R


@frozen
class Effect(Generic[R]):
    """Base of all effects; R is what a handler answers. Subclass it with `@frozen` and name its `kind`.

    Kinds of the mesh itself are in `EffectType`; an app's own are any other string, such as `billing.charge`.
    """

    kind: ClassVar[str]

    @property
    def target(self) -> str:
        """What it is aimed at (a stream, a topic, a URL): with the kind and an ordinal it makes the effect's identity."""
        return ""

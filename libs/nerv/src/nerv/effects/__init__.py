# SPDX-License-Identifier: Apache-2.0
"""Effects: what a pure function asks the mesh to do, as data. Others perform them."""

from nerv.effects.identity import effect_ids
from nerv.effects.kinds import Append, Effect, Http, Publish, Run, append, http, publish, run

__all__ = ["Append", "Effect", "Http", "Publish", "Run", "append", "effect_ids", "http", "publish", "run"]

# SPDX-License-Identifier: Apache-2.0
"""Effects: what a pure function asks the mesh to do, as data. Others perform them.

One effect is an answer of a reaction or a task. An `EffectMonad` is a program of them, for code of its own.
"""

from nerv.effects.caching import Cache
from nerv.effects.execution import Context, DryRun, Execution, Recorded, Recording, Replay, using
from nerv.effects.handlers import Handlers
from nerv.effects.identity import effect_id, effect_ids
from nerv.effects.kinds import (
    Append,
    Http,
    Log,
    MeshEffect,
    Publish,
    ReadView,
    Run,
    Task,
    Timer,
    append,
    http,
    log,
    publish,
    read_view,
    run,
    task,
    timer,
)
from nerv.effects.monad import EffectMonad, RetryPolicy, ask, parallel_all, pure, race, sequence
from nerv.types import Effect

__all__ = [
    "Append",
    "Cache",
    "Context",
    "DryRun",
    "Effect",
    "EffectMonad",
    "Execution",
    "Handlers",
    "Http",
    "Log",
    "MeshEffect",
    "Publish",
    "ReadView",
    "Recorded",
    "Recording",
    "Replay",
    "RetryPolicy",
    "Run",
    "Task",
    "Timer",
    "append",
    "ask",
    "effect_id",
    "effect_ids",
    "http",
    "log",
    "parallel_all",
    "publish",
    "pure",
    "race",
    "read_view",
    "run",
    "sequence",
    "task",
    "timer",
    "using",
]

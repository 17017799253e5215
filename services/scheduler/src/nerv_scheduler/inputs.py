# SPDX-License-Identifier: Apache-2.0
"""What a task is given: values of the drawing, and what other nodes returned, fetched from the store where that is large."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from nerv.api.workflow.v1 import workflow_pb2
from nerv.protocols.queue import Queue
from nerv.workflows import Many, Part, arguments_of, filled, resolve
from nerv.workflows.dag import Argument, needed
from nerv_scheduler.interruptions import LostError
from nerv_scheduler.patience import Patience
from nerv_scheduler.results import Results


class Given(NamedTuple):
    """The arguments of a node; `is_part`: the first is a part of a list."""

    arguments: list[Any]
    is_part: bool


@dataclass(frozen=True, slots=True)
class Inputs:
    """Fetches it."""

    queue: Queue
    results: Results
    patience: Patience

    async def given(self, run: str, task: workflow_pb2.Task) -> Given:
        """What a node is given. Raises LostError, PermanentError for a result that the store has lost."""
        arguments = arguments_of(orjson.loads(task.arguments or b"[]"))
        results = await self.outputs(run, arguments)
        sized = [filled(argument, results.__getitem__) for argument in arguments]
        values = [resolve(argument, results.__getitem__) for argument in sized]
        return Given(values, bool(arguments) and isinstance(arguments[0], Part))

    async def outputs(self, run: str, arguments: Sequence[Argument], made: Container[str] = ()) -> dict[str, Any]:
        """What the nodes returned that some arguments name, but for those that are `made` by who asks. Raises as above."""
        known = await self._results(run, dict.fromkeys(n for a in arguments for n in needed(a) if n not in made))
        # How many items the maps have is known now.
        sized = [filled(a, known.__getitem__) for a in arguments if isinstance(a, Many) and a.step in known]
        more = dict.fromkeys(n for a in sized for n in needed(a) if n not in known and n not in made)
        return known | await self._results(run, more)

    async def _results(self, run: str, names: Iterable[str]) -> dict[str, Any]:
        wanted = list(names)
        found = await self.patience(lambda: self.queue.results(run, wanted))
        if len(found) < len(wanted):
            raise LostError(f"run {run} is not in the queue as it was")
        return {name: await self.results.value(kept) for name, kept in found.items()}

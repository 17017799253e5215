# SPDX-License-Identifier: Apache-2.0
"""The code that a run was started with: a digest of its workflow's function, and of each task that it calls."""

from functools import lru_cache
from typing import Any

from nerv.app import App, WorkflowSpec
from nerv.history.fingerprint import fingerprint_of
from nerv.workflows import Dag

WORKFLOW = ":workflow"


def code_of(app: App, spec: WorkflowSpec, dag: Dag) -> dict[str, str]:
    """The digests by the names of tasks; the workflow's own is `:workflow`."""
    tasks = dict.fromkeys(step.task for step in dag.steps)
    found = {WORKFLOW: _digest(spec.function)}
    return found | {name: _digest(app.tasks[name].function) for name in tasks if name in app.tasks}


@lru_cache(maxsize=10_000)
def _digest(function: Any) -> str:
    return fingerprint_of(function)[:16]  # it tells versions apart, and guards nothing

# SPDX-License-Identifier: Apache-2.0
"""Where the time of a run went, pure: how long each node waited and ran, and which path was the longest."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from nerv.protocols.queue import NodeState, NodeStatus, RunState


def ready_ms(state: RunState, node: NodeState) -> int:
    """When a node had all that it waits for; 0 when that is not yet, or not known."""
    ends = [state.nodes[name].ended_ms for name in node.after]
    return 0 if 0 in ends else max([state.started_ms, *ends])


def spans(state: RunState, node: NodeState) -> dict[str, Any]:
    """Seconds that a node waited for a worker and earlier attempts, and that its last attempt ran; None for what is not known."""
    ready, began, ended = ready_ms(state, node), node.began_ms, node.ended_ms
    return {
        "queued_seconds": _seconds(ready, began),
        "ran_seconds": _seconds(began, ended),
    }


def maps(state: RunState) -> list[dict[str, Any]]:
    """How far each map has come: its items or parts by where they stand. One over a run-time list counts once that is known."""
    found: dict[str, Counter[str]] = {}
    for name, node in state.nodes.items():
        step, bracket, _ = name.partition("[")
        if bracket:
            found.setdefault(step, Counter())[_stage(node.status)] += 1
    return [
        {
            "step": step,
            "items": counts.total(),
            "done": counts["done"],
            "failed": counts["failed"],
            "running": counts["running"],
        }
        for step, counts in found.items()
    ]


def _stage(status: NodeStatus) -> str:
    if status in (NodeStatus.COMPLETED, NodeStatus.SKIPPED):
        return "done"
    return "failed" if status in (NodeStatus.FAILED, NodeStatus.CANCELLED) else status.value


def _seconds(start: int, end: int) -> float | None:
    # Two clocks may have written them: never less than nothing.
    return max(0, end - start) / 1000 if start and end else None


def critical_path(state: RunState) -> list[str]:
    """From the node that ended last back to the first: each waited for the one before it the longest. Empty before any end."""
    ended: Mapping[str, NodeState] = {name: node for name, node in state.nodes.items() if node.ended_ms}
    at = max(ended, key=lambda name: ended[name].ended_ms, default=None)
    path: list[str] = []
    while at is not None:
        path.append(at)
        at = max(
            (name for name in ended[at].after if name in ended), key=lambda name: ended[name].ended_ms, default=None
        )
    return path[::-1]

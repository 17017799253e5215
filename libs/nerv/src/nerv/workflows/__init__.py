# SPDX-License-Identifier: Apache-2.0
"""Workflows as data: a function draws a DAG of tasks, pure; *scheduler* runs it."""

from nerv.app.specs import Concurrency
from nerv.protocols.queue import Priority
from nerv.workflows.cause import Cause
from nerv.workflows.dag import (
    SKIPPED,
    Argument,
    Control,
    Dag,
    Fan,
    First,
    Guard,
    Item,
    Many,
    Node,
    Output,
    Outputs,
    Part,
    Step,
    Value,
    arguments_of,
    control_of,
    filled,
    resolve,
)
from nerv.workflows.drawing import TASK_LIMIT, Branch, Drawing, draw
from nerv.workflows.result import PermanentError, Result

__all__ = [
    "SKIPPED",
    "TASK_LIMIT",
    "Argument",
    "Branch",
    "Cause",
    "Concurrency",
    "Control",
    "Dag",
    "Drawing",
    "Fan",
    "First",
    "Guard",
    "Item",
    "Many",
    "Node",
    "Output",
    "Outputs",
    "Part",
    "PermanentError",
    "Priority",
    "Result",
    "Step",
    "Value",
    "arguments_of",
    "control_of",
    "draw",
    "filled",
    "resolve",
]

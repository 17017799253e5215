# SPDX-License-Identifier: Apache-2.0
"""Workflows as data: a function draws a DAG of tasks, pure; *scheduler* runs it."""

from nerv.workflows.dag import Argument, Dag, Fan, Node, Output, Outputs, Step, Value, arguments_of, resolve
from nerv.workflows.drawing import TASK_LIMIT, Drawing, draw
from nerv.workflows.result import PermanentError, Result

__all__ = [
    "TASK_LIMIT",
    "Argument",
    "Dag",
    "Drawing",
    "Fan",
    "Node",
    "Output",
    "Outputs",
    "PermanentError",
    "Result",
    "Step",
    "Value",
    "arguments_of",
    "draw",
    "resolve",
]

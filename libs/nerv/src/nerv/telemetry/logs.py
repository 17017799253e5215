# SPDX-License-Identifier: Apache-2.0
"""Logs: one line an event; JSON where nobody watches, readable on a terminal. Trace ids come along."""

import logging
import sys
from typing import Any

import structlog

from nerv.telemetry.tracing import current_ids


def _trace_ids(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if (ids := current_ids()) is not None:
        event["trace_id"], span = ids
        if span is not None:
            event["span_id"] = span
    return event


def _whose(service: str, instance: str) -> structlog.typing.Processor:
    # Not by context variables, which threads of their own do not see.
    def add(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("service", service)
        event.setdefault("instance", instance)
        return event

    return add


def configure_logs(service: str, instance: str, level: str = "INFO") -> None:
    """Set up structlog and the standard library's logging, once a process, before diffsync is imported (it prints every
    object otherwise)."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        _whose(service, instance),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _trace_ids,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)

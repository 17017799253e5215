# SPDX-License-Identifier: Apache-2.0
"""Schemas of events and messages: subjects, versions, and whether a new one reads what the earlier ones wrote."""

from nerv.schemas.declared import of_events, of_messages
from nerv.schemas.json_schema import Fault
from nerv.schemas.model import Compatibility, Format, Schema, Version, check_next, incompatible, registered, schema_of

__all__ = [
    "Compatibility",
    "Fault",
    "Format",
    "Schema",
    "Version",
    "check_next",
    "incompatible",
    "of_events",
    "of_messages",
    "registered",
    "schema_of",
]

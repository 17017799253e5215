# SPDX-License-Identifier: Apache-2.0
"""CloudEvents attribute names of the mesh, and how each maps to a field of `Event`."""

from typing import Final

SPEC_VERSION: Final = "1.0"

# attribute on the wire -> field of Event, for the attributes whose value is a plain string
TEXT_FIELDS: Final = {
    "id": "id",
    "source": "source",
    "type": "type",
    "subject": "subject",
    "correlationid": "correlation_id",
    "causationid": "causation_id",
    "dataschema": "dataschema",
    "partitionkey": "partition_key",
    "via": "via",
}
REQUIRED: Final = ("id", "source", "type")

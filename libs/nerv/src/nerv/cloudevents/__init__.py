# SPDX-License-Identifier: Apache-2.0
"""The envelope in each of its forms: Kafka headers, HTTP, JSON, protobuf. One event, one meaning.

CloudEvents 1.0.2 (core), its Kafka and HTTP protocol bindings and its JSON format.
"""

from nerv.cloudevents.incoming import Incoming
from nerv.cloudevents.json_format import from_structured, to_json_line, to_structured
from nerv.cloudevents.kafka_binding import from_record, to_headers
from nerv.cloudevents.proto_format import from_proto, to_proto

__all__ = [
    "Incoming",
    "from_proto",
    "from_record",
    "from_structured",
    "to_headers",
    "to_json_line",
    "to_proto",
    "to_structured",
]

# SPDX-License-Identifier: Apache-2.0
"""The registry of schemas: its truth is the compacted topic `<mesh>.schemas.v1`."""

from nerv_broker.schemas.registry import Registry

__all__ = ["Registry"]

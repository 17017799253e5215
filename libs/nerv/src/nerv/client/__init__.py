# SPDX-License-Identifier: Apache-2.0
"""The asyncio client of the mesh; the command line stands on it."""

from nerv.client.client import Client

__all__ = ["Client"]

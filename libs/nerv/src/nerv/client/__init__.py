# SPDX-License-Identifier: Apache-2.0
"""The asyncio client of the mesh; the command line stands on it."""

from nerv.client.client import Client
from nerv.client.commands import Commands
from nerv.client.states import States

__all__ = ["Client", "Commands", "States"]

# SPDX-License-Identifier: Apache-2.0
"""The syncs of the mesh, over HTTP."""

from nerv.client.transport import Transport


class Syncs:
    """Calls *sync*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

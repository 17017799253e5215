# SPDX-License-Identifier: Apache-2.0
"""The topics of the mesh, over HTTP."""

from nerv.client.transport import Transport


class Topics:
    """Calls *broker*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

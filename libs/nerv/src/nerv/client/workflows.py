# SPDX-License-Identifier: Apache-2.0
"""The workflows of the mesh, over HTTP."""

from nerv.client.transport import Transport


class Workflows:
    """Calls *scheduler*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

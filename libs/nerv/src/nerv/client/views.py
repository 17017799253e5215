# SPDX-License-Identifier: Apache-2.0
"""The views of the mesh, over HTTP."""

from nerv.client.transport import Transport


class Views:
    """Calls *projector*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

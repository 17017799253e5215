# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on a connection, as uvicorn speaks it, with a bound on what it keeps before anybody can look at it (rule 14).

uvicorn's parser collects an address, headers and trailers of any size. The door refuses one header too many by its name;
this is for those who would never come as far as the door.
"""

from typing import Any

import orjson
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nerv.errors import Invalid, NervError, TooLarge
from nerv.limits import Limits

log = structlog.get_logger(__name__)


def bounded(limits: Limits) -> type[HttpToolsProtocol]:
    """The protocol of a server with these limits."""
    most = limits.address + limits.headers * limits.header

    class Bounded(HttpToolsProtocol):
        """Counts the bytes that have become neither a whole head nor a part of a body."""

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self._held = 0

        def data_received(self, data: bytes) -> None:
            """Parse what came, unless too much was kept of what came before."""
            if self._held > most:
                self._refuse(TooLarge(f"address and headers have more than {most} bytes (NERV_LIMITS__HEADERS)"))
                return
            self._held += len(data)
            super().data_received(data)

        def on_headers_complete(self) -> None:
            """The head is whole."""
            self._held = 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            """A part of the body, which the door counts."""
            self._held = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            """The request is whole."""
            self._held = 0
            super().on_message_complete()

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP is answered as all errors are."""
            self._refuse(Invalid(msg))

        def _refuse(self, error: NervError) -> None:
            if self.transport.is_closing():
                return
            body = orjson.dumps(error.problem())
            head = (
                f"HTTP/1.1 {error.status} {error.title}\r\ncontent-type: application/problem+json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return Bounded

#!/opt/nerv/bin/python
# SPDX-License-Identifier: Apache-2.0
"""The image's HEALTHCHECK: exits 0 when the service of this container says that it is ready. It imports nothing of NERV."""

import os
import sys
from http.client import HTTPConnection, HTTPException

SECONDS = 4.0  # less than the time-out of HEALTHCHECK, so that the reason is told

everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on
host = os.environ.get("NERV_HEALTH__HOST", "127.0.0.1")
host = everywhere.get(host, host)
port = int(os.environ.get("NERV_HEALTH__PORT", "9090"))
try:
    connection = HTTPConnection(host, port, timeout=SECONDS)
    connection.request("GET", "/readyz?verbose")
    answer = connection.getresponse()
    sys.stdout.write(answer.read(4000).decode(errors="replace"))
    sys.exit(0 if answer.status == 200 else 1)
except (OSError, HTTPException) as error:
    sys.stdout.write(f"{host}:{port} does not answer: {error}")
    sys.exit(1)

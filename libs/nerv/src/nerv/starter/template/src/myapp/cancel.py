# SPDX-License-Identifier: Apache-2.0
"""Cancel an order: `python -m myapp.cancel ORDER`."""

import asyncio
import sys

import nerv
from myapp import app
from myapp.orders import Cancel
from nerv.deciders.decider import Decider


async def main(order: str) -> None:
    """Ask the decider, over the history of the mesh that runs here."""
    async with nerv.Client() as client:
        decided = await Decider(app, "order", client.streams).decide(order, Cancel("asked for by hand"))
    sys.stdout.write(f"order {order} is at version {decided.version}\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m myapp.cancel ORDER")
    try:
        asyncio.run(main(sys.argv[1]))
    except nerv.NervError as error:
        sys.exit(str(error))

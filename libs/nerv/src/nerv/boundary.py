# SPDX-License-Identifier: Apache-2.0
"""One way across every boundary."""

from nerv.protocols.boundary import Answer, Boundary, Raw, Valid


async def cross(boundary: Boundary[Raw, Valid, Answer], raw: Raw) -> Answer:
    """Validate, process, and handle what either raises. A cancellation goes through: nobody is there to be told."""
    try:
        return await boundary.process(await boundary.validate(raw))
    except Exception as error:
        return await boundary.handle(raw, error)

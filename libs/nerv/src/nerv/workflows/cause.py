# SPDX-License-Identifier: Apache-2.0
"""What a run was started because of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """The event `id` of the chain `correlation_id`. `by` is who answered it with the run: `<app>/<reaction>`."""

    id: str
    correlation_id: str
    by: str | None = None

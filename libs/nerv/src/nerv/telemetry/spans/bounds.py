# SPDX-License-Identifier: Apache-2.0
"""How much is kept of the spans."""

from pydantic import BaseModel, ConfigDict, Field


class SpanSettings(BaseModel):
    """`NERV_SPANS__*`. What is over a bound goes, the oldest trace first."""

    model_config = ConfigDict(frozen=True)

    count: int = Field(default=50_000, ge=0, le=10_000_000)  # of the mesh, some 0.5 KiB each; 0 keeps none
    traces: int = Field(default=5_000, ge=1, le=1_000_000)
    of_trace: int = Field(default=2_000, ge=1, le=100_000)
    seconds: int = Field(default=3_600, ge=1, le=7 * 86_400)
    waiting: int = Field(default=4_096, ge=1, le=1_000_000)  # of a replica, before they are written

# SPDX-License-Identifier: Apache-2.0
"""What a sync run is refused for. Nothing was changed then.

Refused
├── LoadRefused             422  the source is missing, empty, partial or faulty
└── Conflict
    ├── DeletesUnconfirmed  409  it would delete more than the guard allows without a confirmation
    └── RunUnderWay         409  another run of this source is not over yet
"""

from nerv.errors import Conflict, Refused


class LoadRefused(Refused):
    """The source could not be read whole and without a fault, so nothing was changed."""

    status = 422
    title = "The load was refused"


class DeletesUnconfirmed(Conflict):
    """More deletes than the guard allows; a person has to confirm them."""

    title = "Too many deletes"


class RunUnderWay(Conflict):
    """Another run of this source is under way."""

    title = "A run is under way"

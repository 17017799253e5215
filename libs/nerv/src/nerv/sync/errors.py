# SPDX-License-Identifier: Apache-2.0
"""What a sync run is refused for. Nothing was changed then.

Refused
├── LoadRefused             422  a side is missing, empty, partial or faulty
├── ParentsInCycle          422  objects are parents of each other, so that there is no order to write them in
└── Conflict
    ├── DeletesUnconfirmed  409  it would delete more than the guard allows without a confirmation
    ├── PlanMoved           409  the sides are not as they were when the plan was made
    ├── PlanUnapproved      409  nobody has approved the plan
    └── RunUnderWay         409  another run of this sync is not over yet
"""

from nerv.errors import Conflict, Refused


class LoadRefused(Refused):
    """A side could not be read whole and without a fault, so nothing was changed."""

    status = 422
    title = "The load was refused"


class ParentsInCycle(Refused):
    """Objects are parents of each other."""

    status = 422
    title = "Parents in a cycle"


class DeletesUnconfirmed(Conflict):
    """More deletes than the guard allows; a person has to confirm them."""

    title = "Too many deletes"


class PlanMoved(Conflict):
    """The sides are not as they were when the plan was made: another plan would be made now."""

    title = "The world has moved"


class PlanUnapproved(Conflict):
    """The plan has to be approved before it is applied."""

    title = "The plan is not approved"


class RunUnderWay(Conflict):
    """Another run of this sync is under way."""

    title = "A run is under way"

# SPDX-License-Identifier: Apache-2.0
"""A resource is something with a life cycle that a Container starts, watches and stops."""

from dataclasses import replace
from typing import Generic

from nerv.errors import Invalid
from nerv.types.frozen import frozen
from nerv.types.ids import ResourceId
from nerv.types.kinds import LifecycleState
from nerv.types.variables import R

_NEXT = {
    LifecycleState.CREATED: {LifecycleState.STARTING, LifecycleState.STOPPED},
    LifecycleState.STARTING: {LifecycleState.RUNNING, LifecycleState.FAILED},
    LifecycleState.RUNNING: {LifecycleState.STOPPING, LifecycleState.FAILED},
    LifecycleState.STOPPING: {LifecycleState.STOPPED, LifecycleState.FAILED},
    LifecycleState.STOPPED: {LifecycleState.STARTING},
    LifecycleState.FAILED: {LifecycleState.STARTING, LifecycleState.STOPPING},
}


@frozen
class Resource(Generic[R]):
    """What is known of a resource at one moment. `value` is the thing itself while it runs; on the wire it is bytes.

    `kind` says what it is (a provider's type, for people); `needs` are the resources that must run before it.
    """

    id: ResourceId
    kind: str
    state: LifecycleState = LifecycleState.CREATED
    value: R | None = None
    needs: tuple[ResourceId, ...] = ()
    error: str | None = None

    def to(self, state: LifecycleState, *, value: R | None = None, error: str | None = None) -> "Resource[R]":
        """This resource one step further in its life. Raises Invalid for a step that no life has."""
        if state not in _NEXT[self.state]:
            raise Invalid(f"{self.id} is {self.state}; it cannot become {state}")
        return replace(self, state=state, value=value, error=error)

# SPDX-License-Identifier: Apache-2.0
"""Suite *core*: the algebra of deltas over long lives of a state, and deltas that are applied where they do not belong."""

from typing import Any, ClassVar

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from nerv.errors import VersionConflict
from nerv.state import Delta, between, freeze, thaw
from tests.faults.core.machines import Count, examine
from tests.faults.verdict import Invariant

count = Count()

keys = st.sampled_from("abcd")
leaves = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, "", "1"])
states = st.recursive(
    leaves, lambda inner: st.dictionaries(keys, inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=10
)


def exact(state: Any) -> bytes:
    """JSON tells 1, 1.0 and true apart."""
    return orjson.dumps(thaw(state), option=orjson.OPT_SORT_KEYS)


class DeltaMachine(RuleBasedStateMachine):
    """A state with its whole life, and all deltas of it."""

    compose: ClassVar[Any] = staticmethod(Delta.compose)
    invert: ClassVar[Any] = staticmethod(Delta.invert)

    def __init__(self) -> None:
        super().__init__()
        self.lives: list[Any] = [freeze({})]
        self.deltas: list[Delta] = []

    @rule(new=states)
    def change(self, new: Any) -> None:
        """The state becomes another one."""
        count.operations += 1
        self.deltas.append(between(self.lives[-1], new))
        self.lives.append(self.deltas[-1].apply(self.lives[-1]))
        assert exact(self.lives[-1]) == exact(freeze(new))

    @rule()
    def go_back_and_come_again(self) -> None:
        """To the very first state, and forward: apply∘invert is the identity."""
        count.operations += 1
        state = self.lives[-1]
        for delta in reversed(self.deltas):
            state = self.invert(delta).apply(state)
        assert exact(state) == exact(self.lives[0])
        for delta, expected in zip(self.deltas, self.lives[1:], strict=True):
            state = delta.apply(state)
            assert exact(state) == exact(expected)

    @rule(data=st.data())
    def compose_in_any_grouping(self, data: st.DataObject) -> None:
        """From any state to a later one, however the deltas between are grouped: one and the same delta."""
        count.operations += 1
        low = data.draw(st.integers(0, len(self.deltas)))
        high = data.draw(st.integers(low, len(self.deltas)))
        middle = data.draw(st.integers(low, high))
        whole = self._folded(low, high)
        assert self.compose(self._folded(low, middle), self._folded(middle, high)) == whole
        assert whole == between(self.lives[low], self.lives[high])
        assert Delta.from_bytes(whole.to_bytes()) == whole

    @rule(state=states, data=st.data())
    def apply_where_it_does_not_belong(self, state: Any, data: st.DataObject) -> None:
        """A delta is refused, or what it changes was the same there."""
        if not self.deltas:
            return
        count.operations += 1
        delta = data.draw(st.sampled_from(self.deltas))
        try:
            made = delta.apply(freeze(state))
        except VersionConflict:
            count.faults += 1
            return
        assert exact(self.invert(delta).apply(made)) == exact(freeze(state))

    def _folded(self, low: int, high: int) -> Delta:
        delta = Delta()
        for following in self.deltas[low:high]:
            delta = self.compose(delta, following)
        return delta


def run(size: float) -> list[Invariant]:
    """2,000 lives of 50 steps (times `size`)."""
    return [count.verdict("core.delta.algebra", lambda: examine(DeltaMachine, size))]

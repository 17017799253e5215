# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.QuantumUnit` does."""

import inspect
from collections.abc import Mapping
from typing import Any

from nerv.protocols import QuantumUnit
from nerv.types import check_id


async def result(unit: QuantumUnit, inputs: Mapping[str, Any]) -> Any:
    """What a unit gives for these inputs."""
    given = unit.run({name: inputs[name] for name in unit.needs})
    return await given if inspect.isawaitable(given) else given


class QuantumUnitContract:
    """Inherit it and give the fixtures `unit` and `inputs`: the results that it needs, by name, and others."""

    def test_it_has_the_shape(self, unit: QuantumUnit) -> None:
        """That a partitioner looks for, and a name that can be one."""
        assert isinstance(unit, QuantumUnit)
        assert check_id(unit.name, "name") == unit.name

    async def test_its_needs_are_all_it_needs(self, unit: QuantumUnit, inputs: Mapping[str, Any]) -> None:
        """It runs on those, and gives the same when it is run again."""
        assert set(unit.needs) <= set(inputs)
        assert await result(unit, inputs) == await result(unit, inputs)

    async def test_the_parts_do_the_work_of_the_whole(self, unit: QuantumUnit, inputs: Mapping[str, Any]) -> None:
        """On the same inputs, merged in their order; unless it says that it cannot be split."""
        whole = await result(unit, inputs)
        for count in (1, 2, 7):
            parts = unit.split(count)
            if parts is None:
                continue
            assert len({part.name for part in parts}) == len(parts)
            assert all(set(part.needs) <= set(unit.needs) for part in parts)
            assert unit.merge([await result(part, inputs) for part in parts]) == whole

# SPDX-License-Identifier: Apache-2.0
"""Where reactions lead, as `nerv topology` shows it: counted once a batch, when its effects stand."""

from collections import Counter
from collections.abc import Iterator, Sequence

from nerv.effects import Run
from nerv.telemetry.traffic import saw
from nerv.types.streams import category_of
from nerv_broker.reactions.answers import Answer


def tell(answers: Sequence[Answer]) -> None:
    """What good answers asked for is done."""
    found = Counter((one.reaction.name, target) for one in answers if one.good for target in _targets(one))
    for (reaction, target), count in found.items():
        saw(f"reaction:{reaction}", target, count)


def _targets(one: Answer) -> Iterator[str]:
    for request in one.appends:
        yield f"category:{category_of(request.stream)}"
    for record in one.records:
        yield f"topic:{record.topic}"
    for asked in one.calls:
        effect = asked.effect
        if isinstance(effect, Run):
            yield f"workflow:{effect.workflow}"
        else:
            yield f"effect:{effect.kind}"

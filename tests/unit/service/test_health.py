# SPDX-License-Identifier: Apache-2.0
"""Who is ready, when something of one's own fails and when something that all lean on does."""

from nerv.service.health import Health
from tests.unit.service.asking import ask


class Parts:
    """What two checks say."""

    own: str | None = None
    others: str | None = None


async def readiness(health: Health) -> tuple[int, str]:
    """The status of `/readyz`, and what it says with `?verbose`."""
    answer = await ask(health.app(), "GET", "/readyz", query="verbose")
    return answer.status, answer.json["status"]


def started(parts: Parts) -> Health:
    """A service that is up."""
    health = Health()
    health.register("owners", lambda: parts.own)
    health.register("temporal", lambda: parts.others, shared=True)
    health.started()
    return health


async def test_a_fault_of_its_own_makes_a_replica_unready_at_any_time() -> None:
    """Another replica answers better."""
    parts = Parts()
    health = started(parts)
    assert await readiness(health) == (200, "ok")
    parts.own = "late"
    assert await readiness(health) == (503, "not ready")


async def test_a_replica_is_not_ready_before_it_has_had_what_all_lean_on() -> None:
    """A new one that cannot reach temporal is wrong, and a rollout has to stop at it."""
    parts = Parts()
    parts.others = "temporal is away"
    assert await readiness(started(parts)) == (503, "not ready")


async def test_what_is_away_for_all_is_told_and_takes_no_replica_out() -> None:
    """All would be taken out together, and nobody would be left to say why."""
    parts = Parts()
    health = started(parts)
    assert await readiness(health) == (200, "ok")
    parts.others = "temporal is away"
    assert await readiness(health) == (200, "degraded")
    assert health.told() == {"status": "degraded", "phase": "running", "faults": {"temporal": "temporal is away"}}
    parts.own = "late"
    assert await readiness(health) == (503, "not ready")


async def test_a_replica_that_ends_is_not_ready_whatever_holds() -> None:
    """Nobody sends it anything from then on."""
    health = started(Parts())
    health.stopping()
    assert await readiness(health) == (503, "not ready")

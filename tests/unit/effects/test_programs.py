# SPDX-License-Identifier: Apache-2.0
"""Programs of effects: composed, performed, cached, batched, recorded and replayed."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from nerv.effects import (
    Cache,
    DryRun,
    Effect,
    EffectMonad,
    Handlers,
    Recording,
    Replay,
    RetryPolicy,
    ask,
    parallel_all,
    pure,
    race,
    sequence,
    using,
)
from nerv.errors import Internal, Invalid, Misconfigured, Unavailable, UnknownOutcome
from nerv.testing.clock import ManualClock
from nerv.types import frozen


@frozen
class Add(Effect[int]):
    """Adds one, for the test."""

    kind: ClassVar[str] = "test.add"
    number: int

    @property
    def target(self) -> str:
        """Shown in errors."""
        return f"number {self.number}"


@frozen
class Bonus(Add):
    """A kind of Add."""

    kind: ClassVar[str] = "test.bonus"


@frozen
class Wait(Effect[str]):
    """Hangs until somebody opens its gate."""

    kind: ClassVar[str] = "test.wait"
    name: str


def plus_one(effect: Add) -> int:
    """The plain handler."""
    return effect.number + 1


HANDLERS = Handlers().on(Add, plus_one)
AT_ONCE = RetryPolicy(attempts=3, first=0.0)


async def test_map_and_flat_map_chain_results() -> None:
    """Each function gets the result of the one before."""
    program = ask(Add(1)).map(lambda n: n * 10).flat_map(Add).then(pure("end")).map(len)
    assert await program.run(HANDLERS) == 3


async def test_a_program_does_nothing_until_it_runs_and_may_run_again() -> None:
    """It is a value."""
    seen: list[int] = []

    def note(effect: Add) -> int:
        seen.append(effect.number)
        return effect.number

    handlers = Handlers().on(Add, note)
    program = ask(Add(1)).flat_map(lambda n: Add(n + 1))
    assert seen == []
    assert [await program.run(handlers), await program.run(handlers)] == [2, 2]
    assert seen == [1, 2, 1, 2]


async def test_the_monad_laws_hold() -> None:
    """Left and right identity, and associativity."""

    def f(n: int) -> EffectMonad[int]:
        return ask(Add(n))

    def g(n: int) -> EffectMonad[int]:
        return ask(Add(n * 3))

    async def of(program: EffectMonad[int]) -> int:
        return await program.run(HANDLERS)

    m = ask(Add(5))
    assert await of(pure(5).flat_map(f)) == await of(f(5))
    assert await of(m.flat_map(pure)) == await of(m)
    assert await of(m.flat_map(f).flat_map(g)) == await of(m.flat_map(lambda n: f(n).flat_map(g)))


@pytest.mark.parametrize("nested", ["left", "right", "map", "recover"])
async def test_100_000_chained_effects_take_no_stack(nested: str) -> None:
    """However they are nested."""

    def right(n: int) -> EffectMonad[int]:
        return pure(n) if n >= 100_000 else ask(Add(n)).flat_map(right)

    program: EffectMonad[int] = pure(0)
    if nested == "right":
        program = right(0)
    else:
        for _ in range(100_000):
            program = {
                "left": lambda p: p.flat_map(Add),
                "map": lambda p: p.map(lambda n: n + 1),
                "recover": lambda p: p.recover(lambda error: pure(0)).map(lambda n: n + 1),
            }[nested](program)
    assert await program.run(HANDLERS) == 100_000


async def test_sequence_goes_one_by_one_and_ends_at_an_error() -> None:
    """In order; what comes after an error is not asked."""
    seen: list[int] = []

    def strict(effect: Add) -> int:
        seen.append(effect.number)
        if effect.number == 3:
            raise ValueError("three")
        return effect.number

    handlers = Handlers().on(Add, strict)
    steps: list[Any] = [Add(1), ask(Add(2))]
    assert await sequence(steps).run(handlers) == [1, 2]
    with pytest.raises(ValueError, match="three"):
        await sequence([Add(n) for n in (2, 3, 4)]).run(handlers)
    assert seen == [1, 2, 2, 3]


async def test_parallel_all_keeps_the_order_and_the_limit() -> None:
    """Never more than `limit` at the same time, and the results in the order of the steps."""
    now = most = 0

    async def slow(effect: Add) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return effect.number

    handlers = Handlers().on(Add, slow)
    assert await parallel_all([Add(n) for n in range(20)], limit=3).run(handlers) == list(range(20))
    assert most == 3


async def test_the_first_error_of_parallel_all_cancels_the_others() -> None:
    """And is raised when they have ended: nothing outlives the program."""
    before, ended = asyncio.all_tasks(), list[str]()

    async def wait(effect: Wait) -> str:
        if effect.name == "bad":
            raise ValueError("bad")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(effect.name)
        return ""

    with pytest.raises(ValueError, match="bad"):
        await parallel_all([Wait("a"), Wait("b"), Wait("bad")]).run(Handlers().on(Wait, wait))
    assert sorted(ended) == ["a", "b"]
    assert asyncio.all_tasks() == before


async def test_a_cancelled_program_leaves_nothing_behind() -> None:
    """Its parallel parts have ended when the cancellation comes out."""
    started, ended = asyncio.Event(), list[str]()

    async def wait(effect: Wait) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(effect.name)
        return ""

    steps: list[Any] = [Wait("a"), race(Wait("b"), Wait("c"))]
    program = parallel_all(steps)
    task = asyncio.create_task(program.run(Handlers().on(Wait, wait)))
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == ["a", "b", "c"]


async def test_a_race_is_won_by_the_first_success() -> None:
    """A failure does not end it; the losers are cancelled."""
    ended: list[str] = []

    async def wait(effect: Wait) -> str:
        if effect.name == "bad":
            raise ValueError
        if effect.name == "quick":
            await asyncio.sleep(0)
            return "quick"
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(effect.name)
        return ""

    assert await race(Wait("slow"), Wait("bad"), Wait("quick")).run(Handlers().on(Wait, wait)) == "quick"
    assert ended == ["slow"]


async def test_a_race_that_all_lose_raises_all_errors() -> None:
    """As a group."""

    def fail(effect: Wait) -> str:
        raise ValueError(effect.name)

    with pytest.raises(ExceptionGroup) as caught:
        await race(Wait("a"), Wait("b")).run(Handlers().on(Wait, fail))
    assert sorted(str(e) for e in caught.value.exceptions) == ["a", "b"]


async def test_retry_repeats_what_did_not_happen() -> None:
    """Unavailable is tried again, at most so many times."""
    tries = 0

    def moody(effect: Add) -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("not yet")
        return tries

    assert await ask(Add(1)).retry(AT_ONCE).run(Handlers().on(Add, moody)) == 3
    tries = -9
    with pytest.raises(Unavailable):
        await ask(Add(1)).retry(AT_ONCE).run(Handlers().on(Add, moody))
    assert tries == -6


@pytest.mark.parametrize("error", [Invalid("no"), UnknownOutcome("who knows"), ValueError("no")])
async def test_retry_does_not_repeat_what_was_refused_or_is_unknown(error: Exception) -> None:
    """Under a new id an unknown outcome would be done twice (rule 1)."""
    tries = 0

    def fail(effect: Add) -> int:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(type(error)):
        await ask(Add(1)).retry(AT_ONCE).run(Handlers().on(Add, fail))
    assert tries == 1


async def test_a_timeout_is_an_unknown_outcome() -> None:
    """What hangs is cancelled; a TimeoutError of a handler stays what it is."""

    async def hang(effect: Wait) -> str:
        if effect.name == "own":
            raise TimeoutError("own")
        return str(await asyncio.Event().wait())

    handlers = Handlers().on(Wait, hang)
    with pytest.raises(UnknownOutcome):
        await ask(Wait("x")).timeout(0.01).run(handlers)
    with pytest.raises(TimeoutError, match="own"):
        await ask(Wait("own")).timeout(5).run(handlers)


async def test_a_program_that_never_waits_can_still_be_timed_out() -> None:
    """The loop gets a turn now and then."""

    def forever(n: int) -> EffectMonad[int]:
        return ask(Add(n)).flat_map(forever)

    with pytest.raises(UnknownOutcome):
        await forever(0).timeout(0.05).run(HANDLERS)


async def test_recover_takes_the_error_of_all_before_it() -> None:
    """And raises what it does not know; its own errors go to the next."""

    def fail(effect: Add) -> int:
        raise ValueError("first")

    handlers = Handlers().on(Add, fail)
    program = ask(Add(1)).map(lambda n: n + 1)
    assert await program.recover(lambda error: pure(7)).run(handlers) == 7

    def other(error: Exception) -> EffectMonad[int]:
        raise KeyError("second") from error

    assert await program.recover(other).recover(lambda e: pure(len(str(e)))).run(handlers) == len("'second'")
    with pytest.raises(KeyError):
        await program.recover(other).run(handlers)


async def test_handlers_are_found_by_type_then_base_then_outer_scope() -> None:
    """An inner scope hides the outer one, and only while it is used; later registrations are seen at once."""
    outer = Handlers("outer").on(Add, plus_one)
    inner = outer.scope("inner")
    assert await ask(Bonus(1)).run(inner) == 2
    inner.on(Bonus, lambda e: 100)
    assert [await ask(Bonus(1)).run(h) for h in (inner, outer)] == [100, 2]
    outer.on(Add, lambda e: -1)
    assert [await ask(Add(1)).run(h) for h in (inner, outer)] == [-1, -1]
    assert inner.describe().parts[0].name == "outer"
    assert inner.describe().counters == {"test.bonus": 2, "test.add": 1}


async def test_an_effect_without_a_handler_says_what_to_register() -> None:
    """And which types have one."""
    with pytest.raises(Misconfigured, match=r"handlers\.on\(Wait, \.\.\.\).*Add"):
        await ask(Wait("x")).run(HANDLERS)


async def test_a_program_needs_handlers() -> None:
    """Given to run, or by the context around."""
    with pytest.raises(Misconfigured, match="using"):
        await ask(Add(1)).run()
    with using(HANDLERS):
        assert await ask(Add(1)).run() == 2


NUMBER: Any = 3


@pytest.mark.parametrize(
    "make",
    [lambda: sequence([NUMBER]), lambda: parallel_all([NUMBER]), race, lambda: ask(Add(1)).flat_map(lambda _: NUMBER)],
)
async def test_what_is_no_program_is_refused(make: Any) -> None:
    """With what to do about it."""
    with pytest.raises(Invalid):
        await make().run(HANDLERS)


async def test_effects_of_a_type_with_a_batch_handler_reach_it_together() -> None:
    """As one call, wherever in a parallel program they are asked, and in order."""
    calls: list[list[int]] = []

    async def many(effects: Sequence[Add]) -> list[int]:
        calls.append([e.number for e in effects])
        return [e.number for e in effects]

    handlers = Handlers().on_batch(Add, many, size=100)
    assert await parallel_all([Add(n) for n in range(250)], limit=2).run(handlers) == list(range(250))
    assert [len(call) for call in calls] == [100, 100, 50]
    calls.clear()
    programs = [pure(n).flat_map(Add).map(lambda n: n + 1) for n in range(10)]
    assert await parallel_all(programs).run(handlers) == list(range(1, 11))
    assert calls == [list(range(10))]


async def test_mixed_steps_keep_their_places() -> None:
    """Batched effects and others, side by side."""

    def many(effects: Sequence[Add]) -> list[int]:
        return [e.number for e in effects]

    handlers = Handlers().on_batch(Add, many).on(Bonus, lambda e: -e.number).on(Wait, lambda e: e.name)
    steps: list[Any] = [Add(1), Wait("w"), Bonus(2), ask(Add(3)), Add(4)]
    assert await parallel_all(steps).run(handlers) == [1, "w", -2, 3, 4]


async def test_one_failure_in_a_batch_is_that_effects_own() -> None:
    """The others have their answers; a handler that raises, or miscounts, fails all."""

    def many(effects: Sequence[Add]) -> Sequence[int | Exception]:
        if any(e.number == 9 for e in effects):
            return []
        return [ValueError("three") if e.number == 3 else e.number for e in effects]

    handlers = Handlers().on_batch(Add, many)
    programs = [ask(Add(n)).recover(lambda e: pure(0)) for n in range(1, 5)]
    assert await parallel_all(programs).run(handlers) == [1, 2, 0, 4]
    with pytest.raises(ValueError, match="three"):
        await parallel_all([Add(1), Add(3)]).run(handlers)
    with pytest.raises(Internal, match="gave 0 answers"):
        await parallel_all([Add(1), Add(9)]).run(handlers)


async def test_a_cache_answers_equal_effects_for_a_while() -> None:
    """By key, until the time is over, and only so many."""
    asked: list[int] = []
    clock = ManualClock()

    def count(effect: Add) -> int:
        asked.append(effect.number)
        return effect.number

    handlers = Handlers().on(Add, count, cache=Cache(ttl=10, size=2, clock=clock))
    await sequence([Add(1), Add(1), Add(2), Add(1)]).run(handlers)
    assert asked == [1, 2]
    await sequence([Add(3), Add(1), Add(2)]).run(handlers)  # 3 drives out 2, which was used least recently
    assert asked == [1, 2, 3, 2]
    clock.advance(11)
    await sequence([Add(2)]).run(handlers)
    assert asked == [1, 2, 3, 2, 2]


async def test_who_asks_while_the_call_is_under_way_gets_its_answer() -> None:
    """One flight for all; it survives the one who began it, and ends with the last; an error is not kept."""
    gate, calls, ended = asyncio.Event(), list[int](), list[int]()

    async def slow(effect: Add) -> int:
        calls.append(effect.number)
        try:
            await gate.wait()
        finally:
            ended.append(effect.number)
        if effect.number == 2:
            raise ValueError("two")
        return effect.number

    handlers = Handlers().on(Add, slow, cache=Cache(ttl=10))
    first, second = (asyncio.create_task(ask(Add(1)).run(handlers)) for _ in range(2))
    alone = asyncio.create_task(ask(Add(5)).run(handlers))
    for _ in range(5):
        await asyncio.sleep(0)
    first.cancel()
    alone.cancel()
    await asyncio.gather(first, alone, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)
    assert (calls, ended) == ([1, 5], [5])
    gate.set()
    assert await second == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="two"):
            await ask(Add(2)).run(handlers)
    assert calls == [1, 5, 2, 2]


async def test_a_dry_run_says_what_it_would_do_and_does_nothing() -> None:
    """Stand-ins answer; the handlers are not called."""
    done: list[int] = []

    def do(effect: Add) -> int:
        done.append(effect.number)
        return 0

    handlers = Handlers().on(Add, do)
    program = ask(Add(1)).flat_map(lambda n: parallel_all([Add(n), Bonus(n + 1)]))
    with using(handlers, DryRun({Add: lambda e: e.number * 10})) as context:
        assert await program.run() == [100, 110]
    assert isinstance(context.execution, DryRun)
    assert [found.effect for found in context.execution.record] == [Add(1), Add(10), Bonus(11)]
    assert done == []


async def test_a_recording_can_be_replayed_without_handlers_being_called() -> None:
    """The same program gives the same result, errors included; all of the record is used."""

    def moody(effect: Add) -> int:
        if effect.number == 3:
            raise ValueError("three")
        return effect.number + 1

    def made() -> EffectMonad[list[Any]]:
        def several(n: int) -> EffectMonad[list[Any]]:
            steps: list[Any] = [Add(n), ask(Add(3)).recover(lambda e: pure(-1)), Add(1)]
            return parallel_all(steps)

        return ask(Add(1)).flat_map(several)

    recording = Recording()
    with using(Handlers().on(Add, moody), recording):
        first = await made().run()
    replay = Replay(recording.record)
    with using(Handlers(), replay):
        assert await made().run() == first == [3, -1, 2]
    assert replay.left == []


async def test_a_replay_notices_that_the_program_has_changed() -> None:
    """An effect that is not in the record is not performed."""
    recording = Recording()
    with using(HANDLERS, recording):
        await ask(Add(1)).run()
    with using(HANDLERS, Replay(recording.record)), pytest.raises(Invalid, match="number 2"):
        await ask(Add(2)).run()


async def test_the_context_belongs_to_its_task() -> None:
    """Two tasks with other executions do not mix; inside the block `using` goes on as it was."""

    async def one(execution: Any) -> int:
        with using(HANDLERS, execution):
            await asyncio.sleep(0)
            return await ask(Add(1)).run()

    answers = await asyncio.gather(one(None), one(DryRun({Add: lambda e: 50})))
    assert list(answers) == [2, 50]
    with using(HANDLERS, DryRun()), using(Handlers().on(Add, lambda e: 9)):
        assert await ask(Add(1)).run() is None


async def test_a_handler_may_answer_at_once_or_later_as_it_likes() -> None:
    """What an answer was once says nothing of the next one."""

    async def later(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    def odd_later(effect: Add) -> Any:
        return later(effect.number) if effect.number % 2 else effect.number + 1

    def step(number: int) -> EffectMonad[int]:
        return pure(number) if number == 6 else ask(Add(number)).flat_map(step)

    assert await step(0).run(Handlers().on(Add, odd_later)) == 6


async def test_a_program_of_an_unknown_kind_is_refused() -> None:
    """It ends with an error, at the start and in a chain, instead of going round."""

    class Own(EffectMonad[int]):
        """No node of ours."""

    for program in (Own(), ask(Add(1)).flat_map(lambda _: Own())):
        with pytest.raises(TypeError, match="no such program"):
            await program.run(HANDLERS)

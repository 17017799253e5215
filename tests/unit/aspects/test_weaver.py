# SPDX-License-Identifier: Apache-2.0
"""The weaver: functions, classes, objects, modules and effect handlers, woven, switched and unwoven."""

import asyncio
import gc
import inspect
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

import pytest
import structlog

from nerv.aspects import (
    Answer,
    Aspect,
    AspectWeaver,
    Call,
    Guarded,
    Logged,
    Measured,
    Secured,
    Steps,
    acting,
)
from nerv.effects import Effect, Handlers, ask, parallel_all
from nerv.effects.monad import RetryPolicy
from nerv.errors import Forbidden, Internal, Invalid, Unauthenticated, Unavailable
from nerv.types import Principal, frozen


class Told(Aspect):
    """Tells what it sees to a list."""

    def __init__(self, name: str = "told", told: list[str] | None = None) -> None:
        self.name = name
        self.told: list[str] = [] if told is None else told

    def around(self, call: Call) -> Steps:
        """Before and after."""
        self.told.append(f"{self.name} before {call.target.rpartition('.')[2]}")
        try:
            result = yield
        except BaseException as error:
            self.told.append(f"{self.name} saw {type(error).__name__}")
            raise
        self.told.append(f"{self.name} after {result}")
        return None


class Doing(Aspect):
    """Does what it is given."""

    name = "doing"

    def __init__(self, around: object) -> None:
        self._around = around

    def around(self, call: Call) -> Steps:
        """What was given."""
        return self._around(call)  # type: ignore[operator,no-any-return]  # each test gives a generator function


class Account:
    """Something with methods of all kinds."""

    def __init__(self, balance: int = 0) -> None:
        self.balance = balance

    def deposit(self, amount: int) -> int:
        """The new balance."""
        self.balance += amount
        return self.balance

    async def withdraw(self, amount: int) -> int:
        """The new balance, later."""
        await asyncio.sleep(0)
        self.balance -= amount
        return self.balance

    @classmethod
    def opened(cls, balance: int) -> "Account":
        """A new one."""
        return cls(balance)

    @staticmethod
    def currency() -> str:
        """Of all accounts."""
        return "EUR"

    def entries(self) -> Iterator[int]:
        """A generator."""
        yield self.balance

    def _secret(self) -> int:
        return 42


class Savings(Account):
    """Inherits all."""


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


async def later(number: int) -> int:
    """Twice the number, later."""
    await asyncio.sleep(0)
    return 2 * number


def fail(text: str) -> int:
    """Never succeeds."""
    raise KeyError(text)


@frozen
class Ask(Effect[int]):
    """A number."""

    kind: ClassVar[str] = "test.ask"
    number: int


async def test_the_order_given_is_the_order_of_calls_for_both_kinds_of_functions() -> None:
    """The first aspect is the outermost, sync and async alike."""
    told: list[str] = []
    weaver = AspectWeaver(Told("outer", told), Told("inner", told))
    assert weaver.function(double)(2) == 4
    assert await weaver.function(later)(3) == 6
    expected = "outer before {0}, inner before {0}, inner after {1}, outer after {1}"
    assert told == expected.format("double", 4).split(", ") + expected.format("later", 6).split(", ")


async def test_a_woven_function_is_still_what_it_was_for_those_who_look() -> None:
    """Name, docstring, signature and being a coroutine function are the original's; weaving again gives the same one."""
    weaver = AspectWeaver(Told())
    woven = weaver.function(later)
    assert (woven.__name__, woven.__doc__, inspect.signature(woven)) == (
        "later",
        later.__doc__,
        inspect.signature(later),
    )
    assert inspect.iscoroutinefunction(woven)
    assert weaver.function(later) is woven


async def test_a_class_is_woven_with_all_kinds_of_methods_and_given_back() -> None:
    """Methods, coroutine, class and static methods pass the chain; generators and private ones are left alone."""
    told = Told()
    before = dict(vars(Account))
    weaving = AspectWeaver(told).weave(Account)
    account = Account.opened(5)
    assert account.deposit(1) == 6
    assert await account.withdraw(2) == 4
    assert Account.currency() == "EUR"
    assert account._secret() == 42
    assert list(account.entries()) == [4]
    assert [line.split()[-1] for line in told.told if "before" in line] == ["opened", "deposit", "withdraw", "currency"]
    weaving.unweave()
    assert dict(vars(Account)) == before
    weaving.unweave()


def test_inherited_methods_are_woven_for_the_class_that_was_asked() -> None:
    """The base class stays as it was, and the subclass has no attribute of ours afterwards."""
    told = Told()
    with AspectWeaver(told).weave(Savings, "deposit"):
        assert (Savings().deposit(1), Account().deposit(2)) == (1, 2)
    assert told.told == ["told before deposit", "told after 1"]
    assert "deposit" not in vars(Savings)


def test_one_object_is_woven_alone_and_is_not_kept_alive() -> None:
    """Its siblings are not woven; when nobody else holds it, it goes."""
    told, weaver = Told(), AspectWeaver()
    weaver = AspectWeaver(told)
    one, other = Account(), Account()
    weaver.weave(one, "dep*")
    one.deposit(1)
    other.deposit(2)
    assert told.told == ["told before deposit", "told after 1"]
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


def test_a_module_is_woven_by_selector_and_reaches_methods() -> None:
    """`double` and `Account.deposit` are selected by name; what is imported from elsewhere is not the module's own."""
    module = ModuleType("woven_module")
    code = """
import json
def double(n): return 2 * n
def other(n): return n
class Store:
    def append(self, n): return n + 1
dumps = json.dumps
"""
    exec(code, module.__dict__)  # noqa: S102 - a module of our own text
    told = Told()
    weaver = AspectWeaver(told)
    weaving = weaver.weave(module, lambda name, function: name in {"double", "Store.append"})
    assert weaving.targets == ("woven_module.double", "woven_module.Store.append")
    assert (module.double(2), module.Store().append(1), module.other(3)) == (4, 2, 3)
    assert told.told == ["told before double", "told after 4", "told before append", "told after 2"]
    everything = weaver.weave(module)
    assert everything.targets == ("woven_module.other",)  # what is woven stays as it is
    weaver.unweave()
    assert type(module.double) is type(double)


def test_while_no_aspect_is_active_the_very_function_is_back() -> None:
    """Switching off gives classes their own functions again, and makes woven functions go straight through."""
    told = Told()
    weaver = AspectWeaver(told)
    original = vars(Account)["deposit"]
    woven = weaver.function(double)
    with weaver.weave(Account, "deposit"):
        assert vars(Account)["deposit"] is not original
        weaver.disable("told")
        assert vars(Account)["deposit"] is original
        assert (Account().deposit(1), woven(2)) == (1, 4)
        assert told.told == []
        weaver.enable("told")
        assert (Account().deposit(1), woven(2)) == (1, 4)
        assert len(told.told) == 4
        assert weaver.describe().counters == {"woven": 2, "active": 2}
    assert vars(Account)["deposit"] is original


def closing_over(number: int) -> Any:
    """A function with all that one can have: a closure, defaults of both kinds, attributes."""

    def made(one: int, other: int = 2, *rest: int, more: int = 3, **named: int) -> tuple[Any, ...]:
        return one, other, rest, more, named, number

    made.mark = "kept"  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1,), {}), ((1, 5, 6), {"more": 7, "x": 8}), ((), {"one": 1, "other": 4})]
)
def test_a_woven_function_answers_as_the_original_does_switched_on_and_off(args: Any, kwargs: Any) -> None:
    """Closures, defaults, any arguments; a wrong call is the original's error."""
    told = Told()
    weaver = AspectWeaver(told)
    original = closing_over(9)
    woven: Any = weaver.function(original)
    for _ in range(2):
        assert woven(*args, **kwargs) == original(*args, **kwargs)
        assert len(told.told) == 2
        weaver.disable("told")
        assert woven.__code__ is original.__code__
        assert woven(*args, **kwargs) == original(*args, **kwargs)
        assert len(told.told) == 2
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'one'"):
            woven()
        weaver.enable("told")
        told.told.clear()
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'one'"):
        woven()
    assert woven.mark == "kept"
    assert inspect.signature(woven) == inspect.signature(original)


def test_a_function_woven_by_two_weavers_goes_through_both_however_they_are_switched() -> None:
    """The second one weaves what the first one switches."""
    inner, outer = Told("inner"), Told("outer")
    first, second = AspectWeaver(inner), AspectWeaver(outer)
    first.disable("inner")
    woven = second.function(first.function(double))
    assert woven(1) == 2
    assert (len(inner.told), len(outer.told)) == (0, 2)
    first.enable("inner")
    assert woven(2) == 4
    assert (len(inner.told), len(outer.told)) == (2, 4)


def test_a_woven_function_that_nobody_holds_is_gone() -> None:
    """With its join point: a weaver that weaves functions as they come does not grow."""
    weaver = AspectWeaver(Told())
    woven = weaver.function(closing_over(1))
    gone = weakref.ref(woven)
    assert weaver.describe().counters["woven"] == 1
    del woven
    gc.collect()
    assert gone() is None
    assert weaver.describe().counters["woven"] == 0


def test_a_method_woven_as_a_value_is_given_bound_to_the_aspects() -> None:
    """As it is where a class is woven: the arguments of the call are those that were written."""
    seen: list[Call] = []

    class Seen(Aspect):
        """Keeps the call."""

        name = "seen"

        def around(self, call: Call) -> Steps:
            seen.append(call)
            yield
            return None

    weaver = AspectWeaver(Seen())

    class Till:
        """Woven while it is made."""

        @weaver.function
        def add(self, amount: int) -> int:
            """Something."""
            return amount + 1

    assert Till().add(4) == 5
    assert seen[0].args == (4,)


def test_two_weavers_may_be_undone_in_any_order() -> None:
    """The wrapper of the first stays within that of the second, and does nothing."""
    first, second = Told("first"), Told("second")
    one = AspectWeaver(first).weave(Account, "deposit")
    other = AspectWeaver(second).weave(Account, "deposit")
    Account().deposit(1)
    assert (len(first.told), len(second.told)) == (2, 2)
    one.unweave()
    Account().deposit(1)
    assert (len(first.told), len(second.told)) == (2, 4)
    other.unweave()
    Account().deposit(1)
    assert (len(first.told), len(second.told)) == (2, 4)
    # The first's wrapper has come to light again; it is off, and would be taken away by the first weaver only.
    Account.deposit = Account.deposit.__wrapped__  # type: ignore[method-assign,attr-defined]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_an_aspect_may_make_of_a_call(kind: str) -> None:
    """It answers instead, tries again, replaces errors; what it only looks at goes on; and a mere look changes nothing."""

    async def run(around: object, wrong: bool = False) -> object:
        weaver = AspectWeaver(Doing(around))
        if kind == "sync":
            return weaver.function(fail if wrong else double)(2)  # type: ignore[arg-type]  # it raises before it looks

        async def failing(number: int) -> int:
            raise KeyError(number)

        return await weaver.function(failing if wrong else later)(2)

    def answers(call: Call) -> Steps:
        if call.args:
            return Answer(7)
        yield
        return None

    def changes(call: Call) -> Steps:
        result = yield
        return Answer(result + 1)

    def swallows(call: Call) -> Steps:
        try:
            yield
        except KeyError:
            return Answer(None)
        return None

    def looks(call: Call) -> Steps:
        try:
            yield
        except KeyError:
            return None
        return None

    def replaces(call: Call) -> Steps:
        try:
            yield
        except KeyError as error:
            raise ValueError("better") from error
        return None

    def forgets(call: Call) -> Steps:
        if not call.args:
            yield
        return None

    assert await run(answers) == 7
    assert await run(changes) == 5
    assert await run(swallows, wrong=True) is None
    assert await run(looks) == 4
    with pytest.raises(KeyError):
        await run(looks, wrong=True)
    with pytest.raises(ValueError, match="better"):
        await run(replaces, wrong=True)
    with pytest.raises(Internal, match="ended before the call"):
        await run(forgets)


def test_a_stop_iteration_of_the_function_reaches_its_caller() -> None:
    """Python would make a RuntimeError of it on its way through a generator."""
    empty: Iterator[int] = iter(())

    def take() -> int:
        return next(empty)

    with pytest.raises(StopIteration):
        AspectWeaver(Told()).function(take)()


async def test_a_cancellation_is_seen_and_cannot_be_swallowed() -> None:
    """Neither an answer nor another try keeps a cancelled task."""
    begun = asyncio.Event()
    seen: list[BaseException] = []

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    def stubborn(call: Call) -> Steps:
        while True:
            try:
                yield
            except asyncio.CancelledError as error:
                seen.append(error)
            else:
                return Answer(1)

    task = asyncio.create_task(AspectWeaver(Doing(stubborn)).function(wait)())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert len(seen) == 1


async def test_errors_are_mapped_and_tried_again_as_the_policy_says() -> None:
    """A KeyError becomes Unavailable, which is tried three times; the fourth call succeeds or there is none."""
    calls = 0

    async def shaky(until: int) -> int:
        nonlocal calls
        calls += 1
        if calls < until:
            raise KeyError("not yet")
        return calls

    guarded = Guarded({KeyError: Unavailable}, retry=RetryPolicy(attempts=3, first=0.0))
    woven = AspectWeaver(guarded).function(shaky)
    assert await woven(3) == 3
    calls = 0
    with pytest.raises(Unavailable, match=r"shaky: KeyError: 'not yet'") as caught:
        await woven(9)
    assert calls == 3
    assert isinstance(caught.value.__cause__, KeyError)


async def test_only_who_has_the_scope_gets_through() -> None:
    """Nobody is unauthenticated, the wrong one forbidden, and neither reaches the function."""
    account = Account()
    reader = Principal("ann", "default", frozenset({"accounts:read"}))
    writer = Principal("bob", "default", frozenset({"accounts:write"}))
    weaver = AspectWeaver(Secured(lambda call: "accounts:write"))
    with weaver.weave(account, "deposit"):
        with pytest.raises(Unauthenticated, match="accounts:write"):
            account.deposit(1)
        with acting(reader), pytest.raises(Forbidden, match="ann lacks"):
            account.deposit(1)
        assert account.balance == 0
        with acting(writer):
            assert account.deposit(1) == 1


def test_a_call_is_logged_with_nothing_secret_and_not_at_all_when_the_level_is_off() -> None:
    """Arguments are shown when they are named; a level that the log leaves out makes the aspect inactive."""
    with structlog.testing.capture_logs() as lines:
        weaver = AspectWeaver(Logged(show=("number",)))
        woven = weaver.function(double)
        woven(2)
        with pytest.raises(KeyError):
            weaver.function(fail)("password")
    assert [(line["event"], line["log_level"], line.get("number")) for line in lines] == [
        ("call.done", "info", 2),
        ("call.failed", "warning", None),
    ]
    before = structlog.get_config()["wrapper_class"]
    try:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        weaver.refresh()
        assert weaver.describe().counters["active"] == 0
    finally:
        structlog.configure(wrapper_class=before)


def test_calls_and_errors_are_counted_by_target() -> None:
    """Metrics know how often and how badly."""
    measured = Measured()
    weaver = AspectWeaver(measured)
    weaver.function(double)(1)
    with pytest.raises(KeyError):
        weaver.function(fail)("x")
    assert {target.rpartition(".")[2]: count for target, count in measured.calls.items()} == {"double": 1, "fail": 1}
    assert [target.rpartition(".")[2] for target in measured.errors] == ["fail"]


async def test_effect_handlers_share_the_chain_one_by_one_and_in_batches() -> None:
    """The same aspects run around handlers found through a scope of the weaver, and not outside of it."""
    told = Told()
    single = Handlers().on(Ask, lambda effect: effect.number + 1)
    woven = AspectWeaver(told).handlers(single)
    assert await ask(Ask(1)).run(woven) == 2
    assert await ask(Ask(1)).run(single) == 2
    assert told.told == ["told before ask", "told after 2"]
    told.told.clear()
    batch = Handlers().on_batch(Ask, lambda effects: [effect.number * 2 for effect in effects])
    inner = AspectWeaver(told).handlers(batch).scope("inner")
    assert await parallel_all([Ask(1), Ask(2), Ask(3)]).run(inner) == [2, 4, 6]
    assert told.told == ["told before ask", "told after [2, 4, 6]"]
    told.told.clear()
    await ask(Ask(1)).run(AspectWeaver(told).handlers(single, "other.*"))
    assert told.told == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda weaver: weaver.function(Account.entries), "generator"),
        (lambda weaver: weaver.function(3), "no function"),
        (lambda weaver: weaver.weave(Account, "nothing"), "selects nothing of the class Account, which has currency"),
        (lambda weaver: weaver.weave(5), "no place of its own"),
        (lambda weaver: weaver.weave(Account, aspects=["loging"]), "there is no aspect loging; this weaver has told"),
        (lambda weaver: weaver.disable("x"), "there is no aspect x"),
        (lambda weaver: AspectWeaver(Told(), Told()), "the same name"),
    ],
)
def test_what_cannot_be_woven_is_refused_with_what_to_do(wrong: object, says: str) -> None:
    """Nothing is woven then."""
    weaver = AspectWeaver(Told())
    with pytest.raises(Invalid, match=says):
        wrong(weaver)  # type: ignore[operator]  # a lambda of the table above
    assert weaver.describe().outputs == ()

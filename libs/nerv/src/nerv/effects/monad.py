# SPDX-License-Identifier: Apache-2.0
"""Programs of effects: values that say what shall be done, and in which order, and do nothing by themselves."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nerv.errors import Invalid, NervError, Retry
from nerv.types import Description, Effect, R

if TYPE_CHECKING:
    from nerv.effects.handlers import Handlers

U = TypeVar("U")

PARALLEL = 64  # programs that run at the same time, unless told


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a program is tried, and how long all of it may take.

    The pause grows from `first` to at most `longest` seconds, with full jitter (AWS architecture blog, 2015).
    `retries` says for which errors; by default for those after which nothing has happened. An unknown outcome is not
    among them: only a repeat under the same id is safe then, and that is the handler's affair.
    """

    attempts: int = 5
    first: float = 0.05
    longest: float = 5.0
    deadline: float = 30.0
    retries: Callable[[Exception], bool] = lambda error: isinstance(error, NervError) and error.retry is Retry.LATER


class EffectMonad(Generic[R]):
    """A program whose result is an R. It is made of effects and of pure functions, and runs when `run` is awaited.

    Immutable, and may run many times. A chain may be as long as memory allows: it takes no stack.
    """

    __slots__ = ()

    def map(self, function: Callable[[R], U]) -> "EffectMonad[U]":
        """Then `function` of the result, which must be pure."""
        made: Mapped[U] = Mapped()
        made.program, made.function = self, function
        return made

    def flat_map(self, function: Callable[[R], "EffectMonad[U] | Effect[U]"]) -> "EffectMonad[U]":
        """Then the program, or the one effect, that `function` makes of the result."""
        made: Bound[U] = Bound()
        made.program, made.function = self, function
        return made

    def then(self, following: "EffectMonad[U] | Effect[U]") -> "EffectMonad[U]":
        """Then another program, whatever the result."""
        return self.flat_map(lambda _: following)

    def recover(self, function: "Callable[[Exception], EffectMonad[R] | Effect[R]]") -> "EffectMonad[R]":
        """In place of an error, the program that `function` makes of it; it raises what it does not know."""
        return Recovered(self, function)

    def retry(self, policy: RetryPolicy = RetryPolicy()) -> "EffectMonad[R]":
        """All of it again after an error that allows it. Its effects must bear repetition."""
        if policy.attempts < 1:
            raise Invalid("a retry policy needs at least one attempt")
        return Retried(self, policy)

    def timeout(self, seconds: float) -> "EffectMonad[R]":
        """Raises UnknownOutcome when it takes longer: what it had begun may have happened."""
        return Timed(self, seconds)

    async def run(self, handlers: "Handlers | None" = None) -> R:
        """Do it, by these handlers, or by those of the context (`using`). See `nerv.effects.interpret`."""
        from nerv.effects.interpret import interpret  # the interpreter knows all nodes, and so this module

        return await interpret(self, handlers)

    def describe(self) -> Description:
        """What can be seen of the program without running it: effects and steps up to its first function that makes more.

        A dry run says the rest.
        """
        return _described(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # a chain may be too long to show


# The nodes of chains, one for each effect, are filled by the functions that make them: a constructor written in Python
# would cost twice what the object does (95 against 59 ns).


class Pure(EffectMonad[R]):
    """A value."""

    __slots__ = ("value",)

    def __init__(self, value: R) -> None:
        self.value = value


class Asked(EffectMonad[R]):
    """One effect."""

    __slots__ = ("effect",)
    effect: Effect[R]

    def flat_map(self, function: "Callable[[R], EffectMonad[U] | Effect[U]]") -> EffectMonad[U]:
        """Then the program, or the one effect, that `function` makes of the answer."""
        made: Answered[U] = Answered()
        made.effect, made.function = self.effect, function
        return made


class Answered(EffectMonad[R]):
    """One effect, then the program that is made of its answer: the usual link of a chain, one node instead of two."""

    __slots__ = ("effect", "function")
    effect: Effect[Any]
    function: "Callable[[Any], EffectMonad[R] | Effect[R]]"


class Mapped(EffectMonad[R]):
    """A program, then a pure function of its result."""

    __slots__ = ("function", "program")
    program: EffectMonad[Any]
    function: Callable[[Any], R]


class Bound(EffectMonad[R]):
    """A program, then the one that is made of its result."""

    __slots__ = ("function", "program")
    program: EffectMonad[Any]
    function: "Callable[[Any], EffectMonad[R] | Effect[R]]"


class Recovered(EffectMonad[R]):
    """A program, and what to do instead when it fails."""

    __slots__ = ("function", "program")

    def __init__(self, program: EffectMonad[R], function: "Callable[[Exception], EffectMonad[R] | Effect[R]]") -> None:
        self.program = program
        self.function = function


class Retried(EffectMonad[R]):
    """A program that is tried again."""

    __slots__ = ("policy", "program")

    def __init__(self, program: EffectMonad[R], policy: RetryPolicy) -> None:
        self.program = program
        self.policy = policy


class Timed(EffectMonad[R]):
    """A program that may take so long."""

    __slots__ = ("program", "seconds")

    def __init__(self, program: EffectMonad[R], seconds: float) -> None:
        self.program = program
        self.seconds = seconds


class InOrder(EffectMonad[list[Any]]):
    """Steps one after the other."""

    __slots__ = ("steps",)

    def __init__(self, steps: "tuple[EffectMonad[Any] | Effect[Any], ...]") -> None:
        self.steps = steps


class Together(EffectMonad[list[Any]]):
    """Steps at the same time, at most `limit` of them."""

    __slots__ = ("limit", "steps")

    def __init__(self, steps: "tuple[EffectMonad[Any] | Effect[Any], ...]", limit: int) -> None:
        self.steps = steps
        self.limit = limit


class First(EffectMonad[R]):
    """The first of some steps to succeed."""

    __slots__ = ("steps",)

    def __init__(self, steps: "tuple[EffectMonad[R] | Effect[R], ...]") -> None:
        self.steps = steps


def pure(value: U) -> EffectMonad[U]:
    """The program that does nothing and gives `value`."""
    return Pure(value)


def ask(effect: Effect[U]) -> EffectMonad[U]:
    """The program that asks for one effect and gives its handler's answer."""
    made: Asked[U] = Asked()
    made.effect = effect
    return made


def program_of(step: "EffectMonad[U] | Effect[U]") -> EffectMonad[U]:
    """A step as a program. Raises Invalid for what is neither."""
    if isinstance(step, EffectMonad):
        return step
    if isinstance(step, Effect):
        return ask(step)
    raise Invalid(
        f"expected an effect or a program of effects, not {type(step).__name__}; wrap a plain value in pure()"
    )


def _checked(steps: "Iterable[EffectMonad[U] | Effect[U]]") -> "tuple[EffectMonad[U] | Effect[U], ...]":
    found = tuple(steps)
    for kind in set(map(type, found)):  # there may be many steps, but of few types
        if not issubclass(kind, EffectMonad | Effect):
            raise Invalid(f"expected effects or programs of effects, not {kind.__name__}; wrap a plain value in pure()")
    return found


def sequence(steps: "Iterable[EffectMonad[U] | Effect[U]]") -> EffectMonad[list[U]]:
    """One after the other; the results in order. The first error ends it."""
    return InOrder(_checked(steps))


def parallel_all(steps: "Iterable[EffectMonad[U] | Effect[U]]", *, limit: int = PARALLEL) -> EffectMonad[list[U]]:
    """At most `limit` at the same time; the results in order. The first error cancels the others and is raised.

    Effects of a type that has a batch handler reach it together, however many they are.
    """
    if limit < 1:
        raise Invalid(f"limit must be at least 1, not {limit}")
    return Together(_checked(steps), limit)


def race(*steps: "EffectMonad[U] | Effect[U]") -> EffectMonad[U]:
    """All at the same time; the first success is the result, and the others are cancelled: what they had begun may have
    happened. When all fail, an ExceptionGroup of their errors.
    """
    if not steps:
        raise Invalid("a race needs somebody who runs")
    return First(_checked(steps))


def _described(program: EffectMonad[Any]) -> Description:
    effects: Counter[str] = Counter()
    nodes = 0
    todo: list[EffectMonad[Any] | Effect[Any]] = [program]
    while todo:  # not recursive: a chain may be longer than Python's stack
        node = todo.pop()
        nodes += 1
        asked = node if isinstance(node, Effect) else getattr(node, "effect", None)
        if asked is not None:
            effects[str(asked.kind)] += 1
        if isinstance(node, EffectMonad):
            todo += [getattr(node, "program")] if hasattr(node, "program") else []  # noqa: B009 - not of all nodes
            todo += getattr(node, "steps", ())
    name = type(program).__name__
    return Description("EffectMonad", name, outputs=tuple(sorted(effects)), counters={"nodes": nodes, **effects})

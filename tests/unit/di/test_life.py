# SPDX-License-Identifier: Apache-2.0
"""The life of a container: started in order, stopped in reverse, whatever fails, hangs or is cancelled meanwhile."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest

from nerv.di import Container
from nerv.errors import Misconfigured, Unavailable
from nerv.types import Description, Health, LifecycleState

SECONDS = 10.0


class Told:
    """Makes components that tell when they start and stop."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def part(
        self, name: str, *, start: BaseException | None = None, stop: BaseException | None = None
    ) -> Callable[[], Any]:
        """Its maker; with what it raises."""

        async def make() -> AsyncIterator[str]:
            await asyncio.sleep(0)
            if start is not None:
                raise start
            self.told.append(f"+{name}")
            try:
                yield name
            finally:
                self.told.append(f"-{name}")
                if stop is not None:
                    raise stop

        return make


def three(told: Told, container: Container) -> Container:
    """A chain: c needs b needs a."""
    makers = {name: told.part(name) for name in "abc"}
    container.singleton("a", makers["a"])

    async def b(a: str) -> AsyncIterator[str]:
        async with asynccontextmanager(makers["b"])() as made:
            yield made

    async def c(b: str) -> AsyncIterator[str]:
        async with asynccontextmanager(makers["c"])() as made:
            yield made

    container.singleton("c", c)
    container.singleton("b", b)
    return container


def states(container: Container) -> dict[str, LifecycleState | None]:
    """Where each component is in its life."""
    return {node.name: node.state for node in container.graph().nodes}


async def test_components_start_in_the_order_of_what_they_need_and_stop_in_reverse() -> None:
    """As often as the container is entered."""
    told = Told()
    container = three(told, Container())
    for _ in range(2):
        told.told.clear()
        async with container:
            assert told.told == ["+a", "+b", "+c"]
            assert set(states(container).values()) == {LifecycleState.RUNNING}
        assert told.told == ["+a", "+b", "+c", "-c", "-b", "-a"]
        assert set(states(container).values()) == {LifecycleState.STOPPED}


async def test_whatever_makes_and_ends_a_component_in_python_does() -> None:
    """Classes, functions, coroutines, both kinds of generators, both kinds of context managers."""
    left = []

    @contextmanager
    def manager() -> Iterator[str]:
        yield "entered"
        left.append("manager")

    class Both:
        async def __aenter__(self) -> str:
            return "asynchronously"

        async def __aexit__(self, *exc: object) -> None:
            left.append("both")

    def generator() -> Iterator[str]:
        yield "generated"
        left.append("generator")

    async def coroutine() -> str:
        return "awaited"

    container = Container()
    container.singleton("manager", manager)
    container.singleton(Both)
    container.singleton("generator", generator)
    container.singleton("coroutine", coroutine)
    container.singleton("lock", threading.Lock, enter=False)
    async with container:
        assert await container.get("manager") == "entered"
        assert str(await container.get(Both)) == "asynchronously"
        assert await container.get("generator") == "generated"
        assert await container.get("coroutine") == "awaited"
        assert not (await container.get("lock")).locked()
    assert left == ["generator", "both", "manager"]


async def test_a_future_is_a_component_like_any_other() -> None:
    """It is handed on, not awaited."""
    crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    container = Container(start_seconds=SECONDS)
    container.value("crashed", crashed)
    container.singleton("watcher", lambda crashed: [crashed])
    async with container:
        assert (await container.get("watcher"))[0] is crashed
    crashed.cancel()


async def test_a_factory_makes_a_new_one_each_time_also_inside_of_others() -> None:
    """And awaits what is made by coroutine functions."""

    async def number() -> list[int]:
        return [1]

    container = Container()
    container.factory("number", number)
    container.singleton("one", lambda number: number)
    container.singleton("two", lambda number: number)
    async with container:
        made = [await container.get(key) for key in ("number", "number", "one", "two", "one")]
    assert made == [[1]] * 5
    assert len(set(map(id, made))) == 4


async def test_a_scope_has_its_own_until_its_end() -> None:
    """Stopped in reverse; what is longer lived comes from the container."""
    told = Told()
    container = Container()
    container.singleton("a", told.part("a"))
    container.scoped("session", told.part("session"))
    container.scoped("work", lambda session, a: (session, a), enter=False)
    container.factory("view", lambda work: [work])
    async with container:
        with pytest.raises(Misconfigured, match="session lives in a scope"):
            await container.get("session")
        with pytest.raises(Misconfigured, match="view lives in a scope"):
            await container.get("view")
        async with container.scope() as scope, container.scope() as other:
            work, again = await asyncio.gather(scope.get("work"), scope.get("work"))
            assert work is again
            assert work == ("session", "a")
            assert (await scope.get("view"))[0] is work
            assert await other.get("work") is not work
            assert told.told == ["+a", "+session", "+session"]
        assert told.told == ["+a", "+session", "+session", "-session", "-session"]
        with pytest.raises(Misconfigured, match="the scope is not open"):
            await scope.get("a")


async def test_a_scope_tells_its_components_of_an_error_which_none_can_swallow() -> None:
    """So that a session can roll back."""
    heard = []

    async def session() -> AsyncIterator[str]:
        try:
            yield "session"
        except ValueError as error:
            heard.append(error)

    container = Container()
    container.scoped("session", session)
    async with container:
        with pytest.raises(ValueError, match="mine"):  # noqa: PT012 - the block is what raises
            async with container.scope() as scope:
                await scope.get("session")
                raise ValueError("mine")
    assert len(heard) == 1


async def test_many_who_ask_for_a_lazy_one_at_once_get_the_same() -> None:
    """It is started when the first one asks, and stopped like any other."""
    told = Told()
    container = Container()
    container.singleton("lazy", told.part("lazy"), lazy=True)
    container.singleton("above", lambda lazy: [lazy], lazy=True)
    container.singleton("unused", told.part("unused"), lazy=True)
    async with container:
        assert told.told == []
        found = await asyncio.gather(*(container.get("above") for _ in range(100)))
        assert len(set(map(id, found))) == 1
    assert told.told == ["+lazy", "-lazy"]


async def test_who_asked_first_and_goes_away_does_not_end_the_start_that_others_wait_for() -> None:
    """A start belongs to the container."""
    begun, go = asyncio.Event(), asyncio.Event()
    starts = []

    async def slow() -> str:
        starts.append(1)
        begun.set()
        await go.wait()
        return "there"

    container = Container()
    container.singleton("slow", slow, lazy=True)
    async with container:
        first = asyncio.create_task(container.get("slow"))
        await begun.wait()
        second = asyncio.create_task(container.get("slow"))
        first.cancel()
        await asyncio.wait({first})
        go.set()
        assert await second == "there"
    assert first.cancelled()
    assert starts == [1]


async def test_a_lazy_one_that_failed_is_tried_again_by_the_next_who_asks() -> None:
    """All who waited are told why."""
    errors: list[Exception] = [OSError("not yet")]

    def moody() -> str:
        if errors:
            raise errors.pop()
        return "well"

    container = Container()
    container.singleton("moody", moody, lazy=True)
    async with container:
        answers = await asyncio.gather(*(container.get("moody") for _ in range(3)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["not yet"] * 3
        assert await container.health() == {"moody": Health.DOWN}
        assert await container.get("moody") == "well"
        assert container.describe().counters == {"started": 1, "stopped": 0, "failed": 1}


async def test_components_run_in_the_context_of_the_container() -> None:
    """Not in that of whoever happens to ask first: a request's trace must not last as long as a connection."""
    request = contextvars.ContextVar("request", default="none")
    container = Container()
    container.singleton("lazy", request.get, lazy=True)
    async with container:
        request.set("one")
        assert await container.get("lazy") == "none"


async def test_a_start_that_fails_stops_what_was_started() -> None:
    """What fails meanwhile, too, is noted on the error."""
    told = Told()
    container = Container()
    container.singleton("a", told.part("a", stop=OSError("flush")))
    container.singleton("b", told.part("b"))
    container.singleton("c", told.part("c", start=ValueError("no")))
    container.singleton("d", told.part("d"))
    with pytest.raises(ValueError, match="no") as failed:
        async with container:
            pass
    assert failed.value.__notes__ == ["and while stopping: OSError: flush"]
    assert told.told == ["+a", "+b", "-b", "-a"]
    assert states(container) == {
        "a": LifecycleState.FAILED,
        "b": LifecycleState.STOPPED,
        "c": LifecycleState.FAILED,
        "d": LifecycleState.CREATED,
    }


async def test_a_start_that_is_cancelled_stops_what_was_started() -> None:
    """The one that is just starting is broken off."""
    told = Told()
    begun = asyncio.Event()
    broken_off = []

    async def slow(a: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            broken_off.append(1)
            raise

    container = Container()
    container.singleton("a", told.part("a"))
    container.singleton("slow", slow)
    task = asyncio.create_task(container.__aenter__())
    await begun.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=SECONDS)
    assert task.cancelled()
    assert told.told == ["+a", "-a"]
    assert broken_off == [1]


async def test_a_start_that_hangs_ends_in_time() -> None:
    """With an error that names it."""
    container = Container(start_seconds=0.01)
    container.singleton("hangs", asyncio.Event().wait)
    with pytest.raises(Unavailable, match=r"hangs did not start within 0.01 s; is what it waits for up\?"):
        await container.__aenter__()


async def test_all_that_fails_while_stopping_is_told_and_keeps_nothing_from_being_stopped() -> None:
    """As a group; where the block itself fails, that is what its caller hears."""
    told = Told()
    container = Container()
    container.singleton("a", told.part("a", stop=OSError("one")))
    container.singleton("b", told.part("b"))
    container.singleton("c", told.part("c", stop=OSError("two")))
    with pytest.raises(ExceptionGroup, match="2 components of container did not stop") as failed:
        async with container:
            pass
    assert [str(error) for error in failed.value.exceptions] == ["two", "one"]
    assert told.told == ["+a", "+b", "+c", "-c", "-b", "-a"]
    with pytest.raises(ValueError, match="mine"):
        async with container:
            raise ValueError("mine")


async def test_a_stop_that_hangs_leaves_time_for_the_others() -> None:
    """It is cancelled, told of, and the others are stopped as ever; even if it does not react to that."""
    told = Told()
    release = asyncio.Event()

    async def deaf(a: str) -> AsyncIterator[None]:
        yield
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                told.told.append("deaf")

    container = Container(stop_seconds=0.2)
    container.singleton("a", told.part("a"))
    container.singleton("deaf", deaf)
    with pytest.raises(ExceptionGroup) as failed:
        async with container:
            pass
    assert "deaf did not stop within 0.15 s, and it goes on although" in str(failed.value.exceptions[0])
    assert told.told[0] == "+a"
    assert "deaf" in told.told
    assert told.told[-1] == "-a"
    left = [task for task in asyncio.all_tasks() if task.get_name() == "component deaf"]
    release.set()
    await asyncio.wait(left, timeout=SECONDS)
    async with container:  # the next life has nothing to do with it
        assert set(states(container).values()) == {LifecycleState.RUNNING}


@pytest.mark.parametrize("how", ["task", "anyio"])
async def test_who_is_cancelled_while_stopping_hears_of_it_when_all_is_stopped(how: str) -> None:
    """However often, by asyncio or by a scope of anyio."""
    told = Told()
    stopping, go = asyncio.Event(), asyncio.Event()

    async def slow(a: str) -> AsyncIterator[None]:
        yield
        stopping.set()
        await go.wait()
        told.told.append("-slow")

    container = Container()
    container.singleton("a", told.part("a"))
    container.singleton("slow", slow)
    scope = anyio.CancelScope()

    async def life() -> None:
        with scope:
            async with container:
                pass

    task = asyncio.create_task(life())
    await stopping.wait()
    for _ in range(3):
        scope.cancel() if how == "anyio" else task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    await asyncio.wait({task}, timeout=SECONDS)
    assert task.cancelled() == (how == "task")
    assert told.told == ["+a", "-slow", "-a"]


async def test_nothing_is_started_while_the_container_stops() -> None:
    """Who asks then is told so, and who was waiting as well."""
    stopping, go = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[None]:
        yield
        stopping.set()
        await go.wait()

    container = Container()
    container.singleton("slow", slow)
    container.singleton("hangs", asyncio.Event().wait, lazy=True)

    async def life() -> None:
        async with container:
            waiting.append(asyncio.create_task(container.get("hangs")))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    waiting: list[asyncio.Task[Any]] = []
    task = asyncio.create_task(life())
    await stopping.wait()
    with pytest.raises(Misconfigured, match="does not run"):
        await container.get("hangs")
    with pytest.raises(Misconfigured, match="runs already"):  # until all of it is over
        await container.__aenter__()
    go.set()
    await task
    with pytest.raises(Unavailable, match="hangs was cancelled while it was starting"):
        await waiting[0]


async def test_a_component_of_anyio_is_left_by_the_task_that_entered_it() -> None:
    """Whoever asked for it first: a task group would refuse anything else."""

    @asynccontextmanager
    async def group() -> AsyncIterator[anyio.abc.TaskGroup]:
        async with anyio.create_task_group() as found:
            yield found

    ran = asyncio.Event()

    async def run() -> None:
        ran.set()

    container = Container()
    container.singleton("group", group, lazy=True)
    async with container:
        found = await asyncio.create_task(container.get("group"))
        found.start_soon(run)
    assert ran.is_set()


async def test_health_is_asked_of_each_component() -> None:
    """Its check, or what it says of itself; a check that fails or hangs means that it is not well."""

    class Speaks:
        def describe(self) -> Description:
            return Description("Speaks", "one", health=Health.DEGRADED)

    class Mute:
        def describe(self) -> Description:
            raise OSError("no word")

    def broken(component: object) -> None:
        raise OSError

    async def well(component: object) -> bool:
        return True

    container = Container("bank")
    container.singleton(Speaks)
    container.singleton("mute", Mute)
    container.singleton("plain", lambda: 1)
    container.singleton("lazy", lambda: 1, lazy=True)
    container.singleton("no", lambda: 1, health=lambda component: False)
    container.singleton("broken", lambda: 1, health=broken)
    container.singleton("well", lambda: 1, health=well)
    container.singleton("degraded", lambda: 1, health=lambda component: Health.DEGRADED)
    assert set((await container.health()).values()) == {Health.UNKNOWN}
    async with container:
        assert await container.health() == {
            "Speaks": Health.DEGRADED,
            "mute": Health.DOWN,
            "plain": Health.OK,
            "lazy": Health.UNKNOWN,
            "no": Health.DOWN,
            "broken": Health.DOWN,
            "well": Health.OK,
            "degraded": Health.DEGRADED,
        }
        assert container.describe().parts[1].parts == (Description("OSError", "no word", health=Health.DOWN),)


async def test_the_container_describes_itself_and_its_components() -> None:
    """As data, before it runs and while it does."""

    class Speaks:
        def __init__(self, url: str) -> None:
            self.url = url

        def describe(self) -> Description:
            return Description("Speaks", self.url)

    container = Container("bank")
    container.value("url", "here")
    container.singleton(Speaks)
    container.task(lambda url: url, name="report")
    before = container.describe()
    assert before.inputs == ("url",)
    assert before.outputs == ("Speaks", "report")
    assert before.health is Health.UNKNOWN
    async with container:
        found = container.describe()
    assert found.health is Health.OK
    assert found.parts[1] == Description(
        "singleton", "Speaks", inputs=("url",), health=Health.OK, parts=(Description("Speaks", "here"),)
    )
    assert found.to_dict()["counters"] == {"started": 1, "stopped": 0, "failed": 0}

# SPDX-License-Identifier: Apache-2.0
"""A bank for the fault suite: each transfer takes money from one account and gives it to another, by effects of tasks.

Every task adds a number of its own that nobody else can give. Whoever uses what a task returned writes that number down, so
that a result which was accepted beside another one is found. Run it by `NERV_APP=bank:app`.
"""

import asyncio
import uuid
from collections.abc import Sequence

import nerv
from nerv.workflows import Concurrency, Drawing, Output, Result

app = nerv.App("bank")


@app.event("bank.moved.v1")
class Moved(nerv.Event):
    """An account has more or less. `mark` is the number of the task that says so, `seen` are those it was given."""

    transfer: str
    amount: int
    mark: str
    seen: list[str]


@app.task(retries=10, concurrency=Concurrency("source", most=1))
async def withdraw(transfer: str, source: str, amount: int, seconds: float) -> Result:
    """Take the money; of each account one at a time."""
    mark = uuid.uuid4().hex
    await asyncio.sleep(seconds)
    moved = Moved(transfer=transfer, amount=-amount, mark=mark, seen=[])
    return Result(mark, [nerv.append(f"account-{source}", moved)])


@app.task(retries=10)
def stamp(seen: list[str]) -> list[str]:
    """A number more; without effects."""
    return [*seen, uuid.uuid4().hex]


@app.task(retries=10)
async def deposit(seen: list[str], transfer: str, target: str, amount: int, seconds: float) -> Result:
    """Give the money."""
    mark = uuid.uuid4().hex
    await asyncio.sleep(seconds)
    moved = Moved(transfer=transfer, amount=amount, mark=mark, seen=seen)
    return Result([*seen, mark], [nerv.append(f"account-{target}", moved)])


@app.task()
async def bundle(marks: list[list[str]]) -> list[list[str]]:
    """What all transfers of a run saw."""
    return marks


@app.workflow("transfers")
def transfers(w: Drawing, name: str, moves: Sequence[Sequence[str | int]], seconds: float) -> Output:
    """Each move is `[source, target, amount]`."""
    ends = []
    for number, (source, target, amount) in enumerate(moves):
        transfer = f"{name}/{number}"
        taken = w.call(withdraw, transfer, source, amount, seconds)
        stamped = w.call(stamp, w.call(stamp, [taken]))
        ends.append(w.call(deposit, stamped, transfer, target, amount, seconds))
    return w.call(bundle, ends)


@app.workflow("unknown")
def unknown(w: Drawing) -> Output:
    """A task that nobody has declared."""
    return w.call("nobody")


@app.workflow("circle")
def circle(w: Drawing) -> Output:
    """A task that waits for one behind it."""
    return w.call(stamp, [Output("stamp#2")])


@app.workflow("unfit")
def unfit(w: Drawing) -> Output:
    """An argument of another type than its parameter."""
    return w.call(withdraw, "unfit/0", "a", "much", 0.1)


@app.workflow("endless")
def endless(w: Drawing) -> Output:
    """More tasks than a workflow may have."""
    return w.call(bundle, w.map(stamp, [["x"]] * 10_001))


@app.task()
def opaque() -> object:
    """A result that cannot be encoded."""
    return object()


@app.workflow("unencodable")
def unencodable(w: Drawing) -> Output:
    """Its task returns what is not JSON."""
    return w.call(opaque)

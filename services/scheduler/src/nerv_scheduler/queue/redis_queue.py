# SPDX-License-Identifier: Apache-2.0
"""Runs and their ready tasks on Redis 7.0+ or Valkey.

| key | holds |
| --- | --- |
| `<mesh>:tasks:<queue>`, `...:high`, `...:low` | streams of ready nodes `{run, node}`, each with the group `workers` |
| `<mesh>:tasks:<queue>:delayed` | sorted set, by when they are due: retries, sleeping nodes, deadlines, unfinished starts, |
| | orders, and `:intact`, the proof that nothing was lost of the server that its score stands for |
| `<mesh>:tasks:<queue>:parked` | set of runs of which nothing is left but sleeping nodes; they have no hash |
| `<mesh>:tasks:<queue>:awaited` | sorted set of `key run node round` (lines), by name: who waits for an event of a topic |
| `<mesh>:tasks:<queue>:backlogs` | hash of workers and the milliseconds that what they have taken and not begun will take; |
| | `...:backlogs:<worker>` is the list of it |
| `<mesh>:tasks:<queue>:holders:<key>`, `...:waiters:<key>` | set of nodes that have a place under a concurrency key, and |
| | sorted set of those that wait for one; `...:admitting` is from when on (ms) places are given |
| `<mesh>:run:<id>` | hash, the whole of one run: `epoch server status active asleep nodes orders paused round priority ...`, |
| | and of each node `m:` message, `w:` waits, `p:` level, `n:` nonce of the latest attempt, `g:` places and concurrency key, |
| | `c:` children, `s:` status, `a:` attempt, `f:` failures, `l:` losses, `e:` entry, `o:` owner, `b:` began, |
| | `t:` ended, `r:` result (empty: skipped), `x:` error, `k:` key of a sleeping node |
| `<mesh>:runs:<workflow>` | sorted set of runs by their start |

An entry counts only if the run names it (`e:`), so that one that was written twice, or is left over, is passed over.
A server that was started anew, or another one that took over, may have lost what was written last. So a run says of which server
it is: under another one its entries are orphans until history was asked, and no attempt is believed that has not looked there.
"""

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nerv.api.workflow.v1 import workflow_pb2
from nerv.errors import Invalid, Unavailable, UnknownOutcome
from nerv.protocols.queue import (
    ORDER,
    START,
    Admission,
    Claim,
    Depth,
    Done,
    NodeState,
    NodeStatus,
    Orphan,
    Plan,
    PlannedNode,
    Priority,
    RunState,
    RunStatus,
    Taken,
    Waiter,
    parents,
)
from nerv.redis import Scripts, mapped
from nerv.redis.connection import Redis

GROUP = "workers"
INTACT = ":intact"
DUE = 100  # members made ready at a time
FOUND = 1000  # nodes found by one key in one answer
FORGET_SECONDS = 3600.0  # pods come and go under new names
REMEMBERED = 10_000  # runs of a workflow
FAIR = 10  # of so many looks one begins with the lowest priority, so that it is not passed over for ever
SILENT = 4  # looks for silent workers within a lease
_OVER = 2  # what renew.lua says of a claim whose run is being cancelled
_LEVELS = {Priority.HIGH: "h", Priority.NORMAL: "n", Priority.LOW: "l"}
_BRIEF = ("run", "workflow", "status", "started", "ended", "result", "error", "paused")
_SUFFIXES = {"h": ":high", "n": "", "l": ":low"}

Words = list[str | bytes | int | float]
Entry = tuple[str, str, str]
"""Its name (level and id), run and node."""


class RedisQueue:
    """`nerv.protocols.queue.Queue` on Redis. `lease` is seconds; `keep` is how long an ended run is remembered, seconds."""

    def __init__(self, redis: Redis, mesh: str, *, lease: float, keep: int, queue: str = "default") -> None:
        self._redis = redis
        self._scripts = Scripts(redis, "nerv_scheduler.queue")
        self._mesh = mesh
        self._stream = f"{mesh}:tasks:{queue}"
        self._delayed = f"{self._stream}:delayed"
        self._backlogs = f"{self._stream}:backlogs"
        self._parked = f"{self._stream}:parked"
        self._awaited = f"{self._stream}:awaited"
        self._lease_ms = round(lease * 1000)
        self._keep = keep
        self._looks = 0
        self._silent_at = 0.0  # when silent workers are looked for next

    async def take(
        self, worker: str, limit: int, seconds: float, *, chain: int = 0, unless: float | None = None
    ) -> Taken:
        """Claim nodes (see `TaskQueue.take`)."""
        try:
            return await self._take(worker, limit, seconds, chain, unless)
        except (Unavailable, UnknownOutcome):
            # Who could not renew its leases meanwhile may live, and has as long as a lease to do it.
            self._silent_at = time.monotonic() + self._lease_ms / 1000
            raise

    async def _take(self, worker: str, limit: int, seconds: float, chain: int, unless: float | None) -> Taken:
        if not self._looks:
            await self.forget_workers(FORGET_SECONDS)
        self._looks += 1
        taken = await self._claim(worker, (), limit, chain, unless)
        if taken.claims or taken.orphans or taken.elsewhere or not taken.intact or seconds <= 0:
            return taken
        entries = await self._next(worker, seconds)
        return taken if entries == [] else await self._claim(worker, entries or (), limit, chain)

    async def _next(self, worker: str, seconds: float) -> list[Entry] | None:
        """One new entry of each priority, waited for; None when a stream or its group is gone."""
        streams = [f"{self._stream}{suffix}" for suffix in _SUFFIXES.values()]
        words: Words = ["GROUP", GROUP, worker, "COUNT", 1, "BLOCK", max(1, round(seconds * 1000))]
        try:
            answer = await self._command("XREADGROUP", *words, "STREAMS", *streams, *(">" for _ in streams))
        except Invalid as error:
            # The second is what a blocked read hears when the stream is deleted under it (Redis 7.0).
            if "NOGROUP" in error.detail or "UNBLOCKED" in error.detail:
                return None
            raise
        levels = dict(zip(streams, _SUFFIXES, strict=True))
        found = (answer.items() if isinstance(answer, dict) else answer) if answer else ()
        return [
            (levels[stream.decode()] + entry.decode(), *_fields(fields))
            for stream, part in found
            for entry, fields in _flat(part)
        ]

    async def _claim(
        self, worker: str, entries: Iterable[Entry], limit: int, chain: int, unless: float | None = None
    ) -> Taken:
        """Claim these entries, and others as far as there may be more."""
        given = list(entries)
        silent = limit > 0 and time.monotonic() >= self._silent_at
        if silent:
            self._silent_at = time.monotonic() + self._lease_ms / 1000 / SILENT
        levels = "lnh" if self._looks % FAIR == 0 else "hnl"
        args: Words = [worker, max(limit, len(given)), chain, self._lease_ms if silent else 0, levels]
        args += [uuid.uuid4().hex, DUE, "" if unless is None else round(unless * 1000)]
        args += [word for entry in given for word in entry]
        if limit == 0:
            args[1] = 0
        intact, ms, elsewhere, *answers = await self._scripts("take", [self._stream], args)
        nonce = str(args[5])
        orphans = [
            Orphan(run.decode(), entry.decode(), node.decode(), int(ms))
            for kind, entry, run, node, *_ in answers
            if kind == b"orphan"
        ]
        claims = [_claimed(answer, nonce, int(ms)) for answer in answers if answer[0] == b"claimed"]
        return Taken(tuple(claims), tuple(orphans), bool(intact), bool(elsewhere))

    async def shelve(self, worker: str, claims: Sequence[Claim], seconds: float) -> None:
        """Tell of a backlog (see `SharedWork.shelve`)."""
        backlog = f"{self._backlogs}:{worker}"
        with mapped("shelve"):
            async with self._redis.pipeline(transaction=True) as pipe:
                if claims:
                    pipe.rpush(backlog, *map(_shelved, claims))
                    pipe.hset(self._backlogs, worker, str(round(seconds * 1000)))
                else:
                    pipe.delete(backlog)
                    pipe.hdel(self._backlogs, worker)
                await pipe.execute()

    async def begin(self, worker: str, claims: Sequence[Claim], seconds: float) -> list[bool]:
        """Begin what was shelved (see `SharedWork.begin`)."""
        with mapped("begin"):
            async with self._redis.pipeline(transaction=True) as pipe:
                for claim in claims:
                    pipe.lrem(f"{self._backlogs}:{worker}", 1, _shelved(claim))
                pipe.hset(self._backlogs, worker, str(round(seconds * 1000)))
                return [bool(found) for found in (await pipe.execute())[:-1]]

    async def steal(self, worker: str, seconds: float, *, chain: int = 0) -> Taken:
        """Take half of the longest backlog (see `SharedWork.steal`)."""
        words = await self._scripts("steal", [self._stream], [worker, round(seconds * 1000)])
        if not words:
            return Taken()
        text = [word.decode() for word in words]
        entries = zip(text[::3], text[1::3], text[2::3], strict=True)
        return replace(await self._claim(worker, entries, 0, chain), intact=True)

    async def depth(self) -> Depth:
        """How much waits (see `SharedWork.depth`)."""
        ready, taken, age, delayed = await self._scripts("depth", [self._stream], [])
        return Depth(ready, taken, delayed, age / 1000)

    async def enter(self, claim: Claim, key: str, most: int) -> Admission:
        """Ask for a place under a concurrency key (see `SharedWork.enter`)."""
        args: Words = [*_token(claim), claim.node, key, most]
        return Admission((await self._scripts("enter", [self._stream], args)).decode())

    async def renew(self, worker: str, claims: Sequence[Claim]) -> list[Claim]:
        """Renew leases (see `TaskQueue.renew`)."""
        if not claims:
            return []
        args: Words = [worker]
        for claim in claims:
            args += [*_token(claim), claim.node]
        held = await self._scripts("renew", [self._stream], args)
        lost = [claim for claim, mine in zip(claims, held, strict=True) if mine == 0]
        over = [replace(claim, over=True) for claim, mine in zip(claims, held, strict=True) if mine == _OVER]
        return lost + [claim for claim in over if claim not in claims]

    async def complete(self, done: Sequence[Done]) -> list[bool]:
        """Complete many nodes (see `TaskQueue.complete`)."""
        if not done:
            return []
        args: Words = []
        for one in done:
            claim = one.claim
            args += [claim.run, claim.nonce, "" if one.looked else claim.epoch, claim.entry, claim.node]
            args += [int(one.suspect), one.result, len(one.chain)]
            for link in one.chain:
                args += link
        return [answer == b"done" for answer in await self._scripts("complete", [self._stream], args)]

    async def unfold(
        self,
        claim: Claim,
        result: bytes,
        *,
        skipped: Sequence[str] = (),
        grown: Sequence[PlannedNode] = (),
        suspect: bool = False,
    ) -> bool:
        """Complete a node that decides what is done (see `WaitQueue.unfold`)."""
        args: Words = [claim.node, result, int(suspect), len(skipped), len(grown), *skipped]
        for node in grown:
            args += [node.name, node.message, "\n".join(node.children), _level(node.priority)]
        return await self._write("unfold", claim, args)

    async def wait(self, claim: Claim, due_ms: int, key: str, orders: int) -> bool:
        """Put a node to sleep (see `WaitQueue.wait`)."""
        return await self._write("wait", claim, [claim.node, due_ms, key, orders])

    async def fail(
        self,
        claim: Claim,
        error: str,
        *,
        retry_in: float | None = None,
        cancelled: bool = False,
        looked: bool = False,
    ) -> bool:
        """Fail an attempt or a node (see `TaskQueue.fail`)."""
        if retry_in is not None:
            return await self._write("retry", claim, [claim.node, error, round(retry_in * 1000)])
        verdict = NodeStatus.CANCELLED if cancelled else NodeStatus.FAILED
        epoch = "" if looked or cancelled else claim.epoch
        args: Words = [claim.run, claim.nonce, epoch, claim.entry, claim.node, verdict.value, error]
        return bool(await self._scripts("settle", [self._stream], args) == b"done")

    async def release(self, claim: Claim) -> bool:
        """Give a node back (see `TaskQueue.release`)."""
        return await self._write("release", claim, [claim.node])

    async def close(self, claim: Claim, status: RunStatus, *, result: bytes = b"", error: str = "") -> bool:
        """End a run (see `TaskQueue.close`)."""
        return await self._write("close", claim, [status.value, result, error, self._keep])

    async def drop(self, orphan: Orphan) -> None:
        """Forget an entry (see `TaskQueue.drop`)."""
        await self._scripts("drop", [self._stream], [orphan.entry, orphan.run, orphan.node])

    async def start(self, plan: Plan, *, restore: bool = False) -> bool:
        """Put a run in (see `RunStore.start`)."""
        args: Words = [uuid.uuid4().hex, plan.run, plan.workflow, plan.status.value, plan.started_ms, plan.end]
        args += [int(restore), REMEMBERED, "\n".join(node.name for node in plan.nodes)]
        args += [plan.orders, int(plan.paused), plan.round, plan.deadline_ms, _LEVELS[plan.priority]]
        for node in plan.nodes:
            args += [node.name, node.message, node.waits, "\n".join(node.children), node.status.value]
            args += [node.result, node.error, node.attempts, node.failures, node.began_ms, node.ended_ms]
            args += [node.due_ms, node.key, _level(node.priority)]
        return bool(await self._scripts("start", [self._stream], args) == b"started")

    async def intend(self, run: str, seconds: float, *, order: bool = False) -> None:
        """Remember a start or an order (see `RunStore.intend`)."""
        await self._scripts("intend", [self._stream], [run, round(seconds * 1000), ORDER if order else START])

    async def status(self, run: str) -> RunStatus | None:
        """Where a run stands (see `RunStore.status`)."""
        found = await self._command("HGET", self._run(run), "status")
        if found is not None:
            return RunStatus(found.decode())
        return RunStatus.RUNNING if await self._command("SISMEMBER", self._parked, run) else None

    async def show(self, run: str, *, brief: bool = False) -> RunState | None:
        """A run (see `RunStore.show`)."""
        found: dict[bytes, bytes]
        if brief:
            values = await self._command("HMGET", self._run(run), *_BRIEF)
            found = {name.encode(): value for name, value in zip(_BRIEF, values, strict=True) if value is not None}
            found |= {b"nodes": b""} if found else {}
        else:
            found = await self._command("HGETALL", self._run(run))
        return _state({name.decode(): value for name, value in found.items()}) if found else None

    async def results(self, run: str, nodes: Sequence[str]) -> dict[str, bytes]:
        """Results of nodes (see `RunStore.results`)."""
        if not nodes:
            return {}
        found = await self._command("HMGET", self._run(run), *(f"r:{node}" for node in nodes))
        return {node: value for node, value in zip(nodes, found, strict=True) if value is not None}

    async def runs(self, workflow: str, limit: int) -> list[tuple[str, int]]:
        """The latest runs (see `RunStore.runs`)."""
        found = await self._command("ZRANGE", self._runs(workflow), 0, limit - 1, "REV")
        if not found:
            return []
        started = await self._command("ZMSCORE", self._runs(workflow), *found)
        return [(run.decode(), int(ms)) for run, ms in zip(found, started, strict=True) if ms is not None]

    async def listen(self, run: str, node: str, key: str, turn: int) -> None:
        """Have a node found (see `WaitQueue.listen`)."""
        await self._command("ZADD", self._awaited, 0, f"{key}\n{run}\n{node}\n{turn}")

    async def deafen(self, run: str, node: str, key: str, turn: int) -> None:
        """Have it found no longer (see `WaitQueue.deafen`)."""
        await self._command("ZREM", self._awaited, f"{key}\n{run}\n{node}\n{turn}")

    async def awaiting(self, keys: Sequence[str]) -> dict[str, list[Waiter]] | None:
        """Who waits for these keys (see `WaitQueue.awaiting`)."""
        found: dict[str, list[Waiter]] = {}
        left = {key: f"[{key}\n" for key in keys}
        while True:
            args: Words = [FOUND]
            for key, first in left.items():
                args += [first, f"({key}\v"]
            answer = await self._scripts("awaiting", [self._stream], args)
            if answer is None:
                return None
            pages = {key: [one.decode() for one in page] for key, page in zip(left, answer, strict=True) if page}
            for key, page in pages.items():
                parts = (one.split("\n") for one in page)
                found.setdefault(key, []).extend(Waiter(run, node, int(turn)) for _, run, node, turn in parts)
            left = {key: f"({page[-1]}" for key, page in pages.items() if len(page) == FOUND}
            if not left:
                return found

    async def known(self, runs: Sequence[str]) -> list[bool]:
        """Which runs are here (see `WaitQueue.known`)."""
        return [bool(found) for found in await self._scripts("known", [self._stream], list(runs))]

    async def witness(self, name: str) -> str:
        """Lost with everything else (see `WaitQueue.witness`)."""
        await self._command("ZADD", self._delayed, "inf", f"{INTACT}?\n{name}")
        return name

    async def mark_intact(self, started: Mapping[str, Mapping[str, int]], *, witness: str = "") -> None:
        """Nothing is missing (see `RunStore.mark_intact`)."""
        for workflow, runs in started.items():
            latest = sorted(runs.items(), key=lambda item: item[1])[-REMEMBERED:]
            await self._command("ZADD", self._runs(workflow), *(word for run, ms in latest for word in (ms, run)))
            await self._command("ZREMRANGEBYRANK", self._runs(workflow), 0, -1 - REMEMBERED)
        await self._scripts("intact", [self._stream], [f"{INTACT}?\n{witness}" if witness else "", self._lease_ms])

    async def forget_workers(self, idle_seconds: float) -> int:
        """Drop the names and backlogs of workers that hold nothing and have been silent for so long; answers how many."""
        return int(await self._scripts("forget", [self._stream], [round(idle_seconds * 1000)]))

    async def _write(self, script: str, claim: Claim, args: Words) -> bool:
        return bool(await self._scripts(script, [self._stream], [*_token(claim), *args]) == b"done")

    async def _command(self, *words: str | bytes | int | float) -> Any:
        with mapped(str(words[0])):
            return await self._redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py types it not

    def _run(self, run: str) -> str:
        return f"{self._mesh}:run:{run}"

    def _runs(self, workflow: str) -> str:
        return f"{self._mesh}:runs:{workflow}"


def _token(claim: Claim) -> Words:
    return [claim.run, claim.nonce, claim.entry]


def _level(priority: Priority | None) -> str:
    return "" if priority is None else _LEVELS[priority]


def _shelved(claim: Claim) -> str:
    return f"{claim.entry}\n{claim.run}\n{claim.node}\n{claim.nonce}"


def _flat(part: Any) -> Any:
    """The entries of one stream; in RESP3 they come in a list more."""
    return part[0] if part and part[0] and isinstance(part[0][0], list | tuple) else part


def _fields(fields: Any) -> tuple[str, str]:
    found = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    return found[b"run"].decode(), found[b"node"].decode()


def _claimed(answer: Sequence[Any], nonce: str, at_ms: int) -> Claim:
    """The claim that the script made."""
    _, entry, run, node, epoch, attempt, message, failures, losses, status, turn, *links = answer
    chain = tuple((name.decode(), one) for name, one in zip(links[::2], links[1::2], strict=True))
    return Claim(
        run.decode(), node.decode(), entry.decode(), epoch.decode(), attempt, message, int(failures), int(losses),
        over=status != b"running", round=int(turn), chain=chain, nonce=nonce, at_ms=at_ms,
    )  # fmt: skip


def _state(found: Mapping[str, bytes]) -> RunState:
    text = {name: value.decode() for name, value in found.items() if name[:2] not in ("m:", "r:") and name != "result"}
    names = text["nodes"].split("\n") if text["nodes"] else []
    after = parents({name: text[key].split("\n") for name in names if (key := f"c:{name}") in text})
    nodes = {
        name: NodeState(
            NodeStatus(text[f"s:{name}"]),
            workflow_pb2.Task.FromString(found[f"m:{name}"]).task,
            int(text.get(f"a:{name}", 0)),
            int(text.get(f"b:{name}", 0)),
            int(text.get(f"t:{name}", 0)),
            text.get(f"x:{name}", ""),
            found.get(f"r:{name}", b""),
            text.get(f"o:{name}", ""),
            after.get(name, ()),
        )
        for name in names
    }
    return RunState(
        text["run"],
        text["workflow"],
        RunStatus(text["status"]),
        int(text["started"]),
        int(text.get("ended", 0)),
        nodes,
        found.get("result", b""),
        text.get("error", ""),
        text["paused"] == "1",
    )

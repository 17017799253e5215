# SPDX-License-Identifier: Apache-2.0
"""Runs and their ready tasks on Redis 7.0+ or Valkey.

| key | holds |
| --- | --- |
| `<mesh>:tasks:<queue>` | stream of ready nodes `{run, node}`, with the group `workers` |
| `<mesh>:tasks:<queue>:delayed` | sorted set, by when they are due: retries, sleeping nodes, deadlines, unfinished starts, |
| | orders, and `:intact`, the proof that nothing was lost |
| `<mesh>:tasks:<queue>:parked` | set of runs of which nothing is left but sleeping nodes; they have no hash |
| `<mesh>:tasks:<queue>:awaited` | sorted set of `key run node` (lines), by name: who waits for an event of a topic |
| `<mesh>:tasks:<queue>:backlogs` | hash of workers and the milliseconds that what they have taken and not begun will take; |
| | `...:backlogs:<worker>` is the list of it |
| `<mesh>:run:<id>` | hash, the whole of one run: `epoch status active asleep nodes orders paused round ...`, |
| | and of each node `m:` message, `w:` waits, |
| | `c:` children, `s:` status, `a:` attempt, `f:` failures, `l:` losses, `e:` entry, `o:` owner, `b:` began, |
| | `t:` ended, `r:` result (empty: skipped), `x:` error, `k:` key of a sleeping node |
| `<mesh>:runs:<workflow>` | sorted set of runs by their start |

An entry counts only if the run names it (`e:`), so that one that was written twice, or is left over, is passed over.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nerv.api.workflow.v1 import workflow_pb2
from nerv.errors import Invalid, Unavailable, UnknownOutcome
from nerv.protocols.queue import (
    ORDER,
    START,
    Claim,
    Depth,
    Done,
    NodeState,
    NodeStatus,
    Orphan,
    Plan,
    PlannedNode,
    RunState,
    RunStatus,
    Taken,
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
_OVER = 2  # what renew.lua says of a claim whose run is being cancelled

Words = list[str | bytes | int | float]


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
        self._tidied = False
        self._expiring_from = 0.0

    async def take(self, worker: str, limit: int, seconds: float, *, chain: int = 0) -> Taken:
        """Claim nodes (see `TaskQueue.take`)."""
        try:
            return await self._take(worker, limit, seconds, chain)
        except (Unavailable, UnknownOutcome):
            # Who could not renew its leases meanwhile may live, and has as long as a lease to do it.
            self._expiring_from = time.monotonic() + self._lease_ms / 1000
            raise

    async def _take(self, worker: str, limit: int, seconds: float, chain: int) -> Taken:
        if not self._tidied:
            self._tidied = True
            await self.forget_workers(FORGET_SECONDS)
        intact, due = await self._scripts("due", [self._delayed], [DUE])
        if due:
            await self._promote([member.decode() for member in due])
        entries = await self._expired(worker, limit)
        if entries is not None and len(entries) < limit:
            fresh = await self._ready(worker, limit - len(entries), 0.0 if entries else seconds)
            entries = None if fresh is None else entries + fresh
        if entries is None:
            await self._make_group()
            return Taken(intact=False)
        return await self._claim(worker, entries, chain, bool(intact))

    async def shelve(self, worker: str, claims: Sequence[Claim], seconds: float) -> None:
        """Tell of a backlog (see `SharedWork.shelve`)."""
        backlog = f"{self._backlogs}:{worker}"
        with mapped("shelve"):
            async with self._redis.pipeline(transaction=True) as pipe:
                if claims:
                    pipe.rpush(backlog, *map(self._shelved, claims))
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
                    pipe.lrem(f"{self._backlogs}:{worker}", 1, self._shelved(claim))
                pipe.hset(self._backlogs, worker, str(round(seconds * 1000)))
                return [bool(found) for found in (await pipe.execute())[:-1]]

    async def steal(self, worker: str, seconds: float, *, chain: int = 0) -> Taken:
        """Take half of the longest backlog (see `SharedWork.steal`)."""
        words = await self._scripts("steal", [self._stream, self._backlogs], [GROUP, worker, round(seconds * 1000)])
        entries = [
            (entry, {b"run": run, b"node": node})
            for entry, run, node in zip(words[::3], words[1::3], words[2::3], strict=True)
        ]
        return await self._claim(worker, entries, chain, intact=True)

    def _shelved(self, claim: Claim) -> str:
        words = (claim.entry, self._run(claim.run), claim.run, claim.node, claim.epoch, str(claim.attempt))
        return "\n".join(words)

    async def depth(self) -> Depth:
        """How much waits (see `SharedWork.depth`)."""
        ready, taken, age, delayed = await self._scripts("depth", [self._stream, self._delayed], [GROUP])
        return Depth(ready, taken, delayed, age / 1000)

    async def renew(self, worker: str, claims: Sequence[Claim]) -> list[Claim]:
        """Renew leases (see `TaskQueue.renew`)."""
        if not claims:
            return []
        args: Words = [GROUP, worker]
        for claim in claims:
            args += [claim.epoch, claim.attempt, claim.entry, claim.node]
        held = await self._scripts("renew", [self._stream, *(self._run(c.run) for c in claims)], args)
        lost = [claim for claim, mine in zip(claims, held, strict=True) if mine == 0]
        over = [replace(claim, over=True) for claim, mine in zip(claims, held, strict=True) if mine == _OVER]
        return lost + [claim for claim in over if claim not in claims]

    async def complete(self, done: Sequence[Done]) -> list[bool]:
        """Complete many nodes (see `TaskQueue.complete`)."""
        if not done:
            return []
        args: Words = [GROUP]
        for one in done:
            args += [*self._token(one.claim)[1:], one.claim.node, int(one.suspect), one.result, len(one.chain)]
            for link in one.chain:
                args += link
        keys = [self._stream, self._parked, *(self._run(one.claim.run) for one in done)]
        answers = await self._scripts("complete", keys, args)
        return [answer == b"done" for answer in answers]

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
        args: Words = [*self._token(claim), claim.node, result, int(suspect)]
        args += [len(skipped), len(grown), *skipped]
        for node in grown:
            args += [node.name, node.message, "\n".join(node.children)]
        return bool(await self._scripts("unfold", self._keys(claim.run), args) == b"done")

    async def wait(self, claim: Claim, due_ms: int, key: str, orders: int) -> bool:
        """Put a node to sleep (see `WaitQueue.wait`)."""
        args: Words = [*self._token(claim), claim.node, due_ms, key, orders]
        return bool(await self._scripts("wait", self._keys(claim.run), args) == b"done")

    async def fail(self, claim: Claim, error: str, *, retry_in: float | None = None, cancelled: bool = False) -> bool:
        """Fail an attempt or a node (see `TaskQueue.fail`)."""
        if retry_in is None:
            return await self._settle(claim, NodeStatus.CANCELLED if cancelled else NodeStatus.FAILED, error)
        keys = [self._run(claim.run), self._stream, self._delayed]
        answer = await self._scripts("retry", keys, [*self._token(claim), claim.node, error, round(retry_in * 1000)])
        return bool(answer == b"done")

    async def release(self, claim: Claim) -> bool:
        """Give a node back (see `TaskQueue.release`)."""
        keys = [self._run(claim.run), self._stream]
        return bool(await self._scripts("release", keys, [*self._token(claim), claim.node]) == b"done")

    async def close(self, claim: Claim, status: RunStatus, *, result: bytes = b"", error: str = "") -> bool:
        """End a run (see `TaskQueue.close`)."""
        keys = [self._run(claim.run), self._stream, self._delayed]
        answer = await self._scripts("close", keys, [*self._token(claim), status.value, result, error, self._keep])
        return bool(answer == b"done")

    async def drop(self, orphan: Orphan) -> None:
        """Forget an entry (see `TaskQueue.drop`)."""
        with mapped("drop"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(self._stream, GROUP, orphan.entry)
                pipe.xdel(self._stream, orphan.entry)
                await pipe.execute()

    async def start(self, plan: Plan, *, restore: bool = False) -> bool:
        """Put a run in (see `RunStore.start`)."""
        run, listed = self._run(plan.run), self._runs(plan.workflow)
        keys = [run, self._stream, self._delayed, listed, self._parked, self._awaited]
        args: Words = [uuid.uuid4().hex, plan.run, plan.workflow, plan.status.value, plan.started_ms, plan.end]
        args += [int(restore), REMEMBERED, "\n".join(node.name for node in plan.nodes)]
        args += [plan.orders, int(plan.paused), plan.round, plan.deadline_ms]
        for node in plan.nodes:
            args += [node.name, node.message, node.waits, "\n".join(node.children), node.status.value]
            args += [node.result, node.error, node.attempts, node.failures, node.began_ms, node.ended_ms]
            args += [node.due_ms, node.key]
        return bool(await self._scripts("start", keys, args) == b"started")

    async def intend(self, run: str, seconds: float, *, order: bool = False) -> None:
        """Remember a start or an order (see `RunStore.intend`)."""
        what = ORDER if order else START
        await self._scripts("intend", [self._run(run), self._delayed], [run, round(seconds * 1000), what])

    async def status(self, run: str) -> RunStatus | None:
        """Where a run stands (see `RunStore.status`)."""
        found = await self._command("HGET", self._run(run), "status")
        if found is not None:
            return RunStatus(found.decode())
        return RunStatus.RUNNING if await self._command("SISMEMBER", self._parked, run) else None

    async def show(self, run: str) -> RunState | None:
        """A run (see `RunStore.show`)."""
        found: dict[bytes, bytes] = await self._command("HGETALL", self._run(run))
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

    async def listen(self, run: str, node: str, key: str) -> None:
        """Have a node found (see `WaitQueue.listen`)."""
        await self._command("ZADD", self._awaited, 0, f"{key}\n{run}\n{node}")

    async def deafen(self, run: str, node: str, key: str) -> None:
        """Have it found no longer (see `WaitQueue.deafen`)."""
        await self._command("ZREM", self._awaited, f"{key}\n{run}\n{node}")

    async def awaiting(self, keys: Sequence[str]) -> dict[str, list[tuple[str, str]]] | None:
        """Who waits for these keys (see `WaitQueue.awaiting`)."""
        found: dict[str, list[tuple[str, str]]] = {}
        left = {key: f"[{key}\n" for key in keys}
        while True:
            args: Words = [FOUND]
            for key, first in left.items():
                args += [first, f"({key}\v"]
            answer = await self._scripts("awaiting", [self._delayed, self._awaited], args)
            if answer is None:
                return None
            pages = {key: [one.decode() for one in page] for key, page in zip(left, answer, strict=True) if page}
            for key, page in pages.items():
                found.setdefault(key, []).extend((run, node) for _, run, node in (one.split("\n") for one in page))
            left = {key: f"({page[-1]}" for key, page in pages.items() if len(page) == FOUND}
            if not left:
                return found

    async def known(self, runs: Sequence[str]) -> list[bool]:
        """Which runs are here (see `WaitQueue.known`)."""
        answer = await self._scripts("known", [self._parked, *map(self._run, runs)], list(runs))
        return [bool(found) for found in answer]

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
        await self._scripts("intact", [self._delayed], [f"{INTACT}?\n{witness}" if witness else "", INTACT])

    async def forget_workers(self, idle_seconds: float) -> int:
        """Drop the names and backlogs of workers that hold nothing and have been silent for so long; answers how many."""
        args: Words = [GROUP, round(idle_seconds * 1000)]
        return int(await self._scripts("forget", [self._stream, self._backlogs], args))

    async def _promote(self, members: Sequence[str]) -> None:
        pairs = [member.partition("\n") for member in members]
        keys = [self._delayed, self._stream, self._parked, *(self._run(run) for run, _, _ in pairs)]
        await self._scripts("promote", keys, [word for run, _, node in pairs for word in (run, node)])

    async def _expired(self, worker: str, limit: int) -> list[Any] | None:
        """Entries whose worker has not renewed them; None when the stream or its group is gone."""
        if time.monotonic() < self._expiring_from:
            return []
        words = (self._stream, GROUP, worker, self._lease_ms, "0-0", "COUNT", limit)
        answer = await self._of_group("XAUTOCLAIM", *words)
        return None if answer is None else list(answer[1])

    async def _ready(self, worker: str, limit: int, seconds: float) -> list[Any] | None:
        """New entries; None when the stream or its group is gone."""
        words: Words = ["GROUP", GROUP, worker, "COUNT", limit]
        if seconds > 0:
            words += ["BLOCK", max(1, round(seconds * 1000))]
        answer = await self._of_group("XREADGROUP", *words, "STREAMS", self._stream, ">")
        if answer is None:
            return None
        streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer]
        return [entry for part in streams for entry in part]

    async def _of_group(self, *words: str | bytes | int | float) -> Any:
        try:
            return await self._command(*words) or []
        except Invalid as error:
            # The second is what a blocked read hears when the stream is deleted under it (Redis 7.0).
            if "NOGROUP" in error.detail or "UNBLOCKED" in error.detail:
                return None
            raise

    async def _make_group(self) -> None:
        """The group, from the first entry on, so that none that was written before it is passed over."""
        await self._command("ZREM", self._delayed, INTACT)
        try:
            await self._command("XGROUP", "CREATE", self._stream, GROUP, "0", "MKSTREAM")
        except Invalid as error:
            if "BUSYGROUP" not in error.detail:
                raise

    async def _claim(self, worker: str, entries: Sequence[Any], chain: int, intact: bool) -> Taken:
        if not entries:
            return Taken(intact=intact)
        args: Words = [GROUP, worker, chain]
        named = [(entry.decode(), *_fields(fields)) for entry, fields in entries]
        for entry, run, node in named:
            args += [entry, run, node]
        answers = await self._scripts("claim", [self._stream, *(self._run(run) for _, run, _ in named)], args)
        claims, orphans = [], []
        for (entry, run, node), answer in zip(named, answers, strict=True):
            if answer[0] == b"orphan":
                orphans.append(Orphan(run, entry))
            elif answer[0] == b"claimed":
                _, epoch, attempt, message, failures, losses, status, turn, *links = answer
                over = status != b"running"
                claim = Claim(run, node, entry, epoch.decode(), attempt, message, int(failures), int(losses))
                chain_of = tuple((name.decode(), one) for name, one in zip(links[::2], links[1::2], strict=True))
                claims.append(replace(claim, over=over, round=int(turn), chain=chain_of))
        return Taken(tuple(claims), tuple(orphans), intact)

    async def _settle(self, claim: Claim, verdict: NodeStatus, text: str | bytes) -> bool:
        args: Words = [*self._token(claim), claim.node, verdict.value, text]
        answer = await self._scripts("settle", self._keys(claim.run), args)
        return bool(answer == b"done")

    def _keys(self, run: str) -> list[str]:
        return [self._run(run), self._stream, self._delayed, self._parked, self._awaited]

    def _token(self, claim: Claim) -> Words:
        return [GROUP, claim.epoch, claim.attempt, claim.entry]

    async def _command(self, *words: str | bytes | int | float) -> Any:
        with mapped(str(words[0])):
            return await self._redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py types it not

    def _run(self, run: str) -> str:
        return f"{self._mesh}:run:{run}"

    def _runs(self, workflow: str) -> str:
        return f"{self._mesh}:runs:{workflow}"


def _fields(fields: Any) -> tuple[str, str]:
    found = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    return found[b"run"].decode(), found[b"node"].decode()


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

# SPDX-License-Identifier: Apache-2.0
"""A file of rows as a side that is watched and can be written: CSV, NDJSON, or whatever `FileRows` an app has."""

import asyncio
import fcntl
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from nerv.cancelling import finished
from nerv.errors import Invalid, NervError, Unavailable, UnknownOutcome, VersionConflict
from nerv.protocols.side import Action, Changes, Entity, Position, Step, WriteOutcome, Written
from nerv.protocols.source import Complete
from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused
from nerv.sync.file_rows import FileRows, Raw, identity
from nerv.sync.reading import MAX_FAULTS, Fault, FaultyRow, fault, read_row, refuse
from nerv.sync.schema import key_of
from nerv.sync.sides.feed import ChangeLog
from nerv.sync.tree import digest
from nerv.types import Description, Stamp, utc_now

T = TypeVar("T")

BATCH = 1000  # rows that `load` gives at a time
ROWS = 1_000_000  # of a file, unless another bound is given
SETTLED_NS = 50_000_000  # a file that is younger may be changed again without another time: kernels count in ticks
TRIES = 10  # to read a file that others put new ones in the place of
LOCK_SECONDS = 30.0  # that a writer waits for another one


class Held(NamedTuple):
    """A row as the file has it, and as the side gives it."""

    raw: Raw
    entity: Entity


class FileSide:
    """The file of a `CsvSource` or an `NdjsonSource`, held in memory. Each question looks whether the file is another one; it is
    read again only then, and what differs is what the feed tells.

    Written is the whole file, beside the old one, synchronised to the disk and put in its place at once; a writer holds a
    lock on `<file>.lock` meanwhile, as other programs that write it should. A row is written only if it still is as it was
    seen. Columns that the `row` model does not know stay as they are.
    """

    writable = True

    def __init__(self, source: FileRows, *, identifiers: Sequence[str] = (), limit: int = ROWS) -> None:
        self.name = source.category
        self._source = source
        self._identifiers = tuple(identifiers) or (source.key,)
        self._limit = limit
        self._held: dict[str, Held] = {}
        self._seen: tuple[int, ...] | None = None
        self._settled = False
        self._log = ChangeLog()
        self._turn = asyncio.Lock()
        self._reads = self._written = 0

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every row (see `Side.load`). Raises LoadRefused for a file that is not whole."""
        await self._run(self._look)
        held, instant = self._held, self._source.instant()
        pending = iter(held.values())
        while chunk := list(islice(pending, BATCH)):
            yield [one.entity for one in chunk]
        yield Complete(len(held), instant)

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The rows of these keys as they are now."""
        await self._run(self._look)
        held = self._held
        return [held[key].entity if key in held else Entity(key, None) for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """What differs from the file as it was at the position, for which this process must have seen it then."""
        await self._run(self._look)
        return self._log.since(after)

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Write each row that still is as it was seen, all in one new file."""
        outcomes = await self._run(lambda: self._write(steps))
        self._written += sum(1 for outcome in outcomes if isinstance(outcome, Written))
        return outcomes

    def describe(self) -> Description:
        """The side as data."""
        counters = {"held": len(self._held), "reads": self._reads, "written": self._written}
        path = (self._source.path,)
        return Description("FileSide", self.name, path, path, counters=counters, parts=(self._log.describe(),))

    async def _run(self, work: Callable[[], T]) -> T:
        async with self._turn:
            # What is being written is written to its end, whoever goes away meanwhile.
            return await finished(asyncio.ensure_future(asyncio.to_thread(work)))

    def _look(self) -> None:
        """Read the file if it is another one than it was; again, if another one took its place meanwhile."""
        for _ in range(TRIES - 1):
            status = self._status()
            try:
                return self._look_at(status)
            except LoadRefused:
                if identity(self._status()) == identity(status):
                    raise
        return self._look_at(self._status())

    def _status(self) -> os.stat_result:
        try:
            return self._source.file().stat()
        except FileNotFoundError:
            raise LoadRefused(f"there is no file {self._source.file()}; nothing was changed") from None
        except OSError as error:
            raise Unavailable(f"{self.name}: {error.strerror}", retry_after=1.0) from error

    def _look_at(self, status: os.stat_result) -> None:
        if self._settled and identity(status) == self._seen:
            return
        found = self._read(Stamp.of(min(datetime.fromtimestamp(status.st_mtime, UTC), utc_now())))
        if self._reads:
            self._log.note(key for key in {*found, *self._held} if _version(found, key) != _version(self._held, key))
        self._reads += 1
        self._held = found
        self._seen, self._settled = identity(status), time.time_ns() - status.st_mtime_ns > SETTLED_NS

    def _read(self, stamp: Stamp) -> dict[str, Held]:
        found: dict[str, Held] = {}
        faults: list[Fault] = []
        for place, raw in self._source.rows():
            try:
                entity = self._entity(raw, stamp)
            except FaultyRow as faulty:
                faults += [fault(place, *one) for one in faulty.faults]
                if len(faults) >= MAX_FAULTS:
                    break
                continue
            if entity.key in found:
                raise LoadRefused(f"{place}: key {entity.key!r} is there twice; keys must be unique")
            if len(found) >= self._limit:
                raise LoadRefused(f"{self._source.path} has more than {self._limit} rows")
            before = self._held.get(entity.key)
            same = before is not None and before.entity.version == entity.version
            found[entity.key] = Held(raw, before.entity if same and before is not None else entity)
        refuse(faults)
        return found

    def _entity(self, raw: Raw, stamp: Stamp | None) -> Entity:
        row, content = read_row(self._source.row, raw)
        try:
            key = key_of(self._identifiers, row)
        except Invalid as error:
            raise FaultyRow([(", ".join(self._identifiers), error.detail)]) from None
        return Entity(key, row, digest(content).hex(), stamp)

    def _write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        try:
            with self._locked():
                self._look()
                held, outcomes = dict(self._held), list[WriteOutcome]()
                for step in steps:
                    outcomes.append(self._written_to(held, step))
                if any(isinstance(outcome, Written) for outcome in outcomes):
                    self._replace(held)
                    self._log.note(
                        s.key for s, found in zip(steps, outcomes, strict=True) if isinstance(found, Written)
                    )
                return outcomes
        except NervError as error:
            return [error] * len(steps)
        except OSError as error:
            return [Unavailable(f"{self._source.path} cannot be written: {error.strerror}", retry_after=1.0)] * len(
                steps
            )

    def _written_to(self, held: dict[str, Held], step: Step) -> WriteOutcome:
        """Perform a step on what is held; the outcome holds once that is the file."""
        before = held.get(step.key)
        if (before.entity.version if before is not None else None) != step.version:
            return VersionConflict(f"{self.name}: {step.key} is not as it was seen")
        if step.action is Action.DELETE or step.after is None:
            held.pop(step.key, None)
            return Written(None)
        try:
            after = self._made(step, before)
        except Invalid as error:
            return error
        held[step.key] = after
        return Written(after.entity.version)

    def _made(self, step: Step, before: Held | None) -> Held:
        """The row of a step as the file will have it. Raises Invalid for one that would not be read back as it is."""
        wanted = orjson.loads(step.after or b"null")
        model = self._source.row
        computed = set(getattr(model, "model_computed_fields", ()))
        stored = {name: value for name, value in wanted.items() if name not in computed}
        raw = {**(before.raw if before is not None else {}), **self._source.raw(stored)}
        list(self._source.texts([raw]))
        try:
            entity = self._entity(raw, step.stamp or Stamp.of(utc_now()))
        except FaultyRow as faulty:
            raise Invalid(f"{self.name} {step.key}: {faulty.faults[0][0]}: {faulty.faults[0][1]}") from None
        read = entity.row or {}
        differs = [name for name, value in stored.items() if canonical({"": read.get(name)}) != canonical({"": value})]
        if differs or entity.key != step.key:
            raise Invalid(
                f"{self.name} {step.key}: {', '.join(differs) or 'the key'} would not be read back from {self._source.path} "
                "as it was written; give the source a `row` model with its types"
            )
        return Held(raw, entity)

    def _replace(self, held: dict[str, Held]) -> None:
        """Put a new file in the place of the old one, if that still is the one that was read."""
        file = self._source.file()
        before = identity(file.stat())
        if before != self._seen:
            raise VersionConflict(f"{self._source.path} was changed while it was about to be written")
        number, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        try:
            with os.fdopen(number, "w", encoding="utf-8", newline="") as new:
                for text in self._source.texts([one.raw for one in held.values()]):
                    new.write(text)
                new.flush()
                os.fchmod(new.fileno(), file.stat().st_mode & 0o777)
                os.fsync(new.fileno())
            if identity(file.stat()) != before:
                raise VersionConflict(f"{self._source.path} was changed while it was written")
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._held, self._settled = held, False  # our own file is read again once: what is in it counts
        try:
            _synchronised(file.parent)
        except OSError as error:
            raise UnknownOutcome(f"{self._source.path} was written, and may be lost with the machine") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        file = self._source.file()
        with file.with_name(f"{file.name}.lock").open("a") as lock:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Unavailable(f"{file.name}.lock is held by another writer", retry_after=1.0) from None
                    time.sleep(0.02)
            yield


def _version(held: dict[str, Held], key: str) -> Any:
    found = held.get(key)
    return None if found is None else found.entity.version


def _synchronised(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

# SPDX-License-Identifier: Apache-2.0
"""History out into an archive and in again, over the port `History`: of a mesh, a file, or memory."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from nerv.cloudevents import to_proto
from nerv.errors import IdConflict, Invalid, NervError
from nerv.history.archive import ArchiveWriter, Checked, CutShort, Header, check, header_now, read
from nerv.history.lifecycle import MARKS
from nerv.protocols import Appended, AppendOutcome, AppendRequest, Expected, History, ReadQuery
from nerv.protocols.history import Expect
from nerv.types import Event

FRAME = 5000  # events in a frame, at most
FRAME_DATA = 16 * 1024 * 1024  # bytes of data in a frame, but for its last event
WINDOW = 500  # events that are appended in one call
WINDOW_BYTES = 768 * 1024  # of them as messages: a request of 1 MiB is refused

Report = Callable[[int], None]
"""Hears how many events are done."""


async def export(
    history: History, path: Path, *, category: str | None = None, resume: bool = False, report: Report = lambda _: None
) -> Checked:
    """Write the events of a category, or of all streams, into an archive, and check it.

    With `resume`, what is whole of a file that was cut short stays, and the rest of what was known then is added. Raises
    Invalid where the file exists, or is of another category.
    """
    going_on = _begun(path, category) if resume else None
    if going_on is not None and going_on.ended:
        return going_on
    header = header_now(category) if going_on is None else going_on.header
    try:
        writer = ArchiveWriter(path, header, going_on)
    except FileExistsError:
        raise Invalid(f"{path} exists; name another file, or go on with it by --resume") from None
    with writer:
        async for events in _framed(_rest(history, header, going_on)):
            writer.write(events)
            report(writer.events)
        writer.end()
    return check(path)


def _begun(path: Path, category: str | None) -> Checked | None:
    if not path.exists():
        return None
    try:
        found: Checked | None = check(path)
    except CutShort as error:
        found = error.checked
    if found is None:
        raise Invalid(f"{path} does not even have its beginning; delete it, and export anew")
    if found.header.category != category:
        raise Invalid(f"{path} is of category {found.header.category}, not {category}")
    return found


async def _rest(history: History, header: Header, going_on: Checked | None) -> AsyncIterator[Event[bytes]]:
    """The events that are not in the archive. The order of recording is the same for ever, up to an instant that is closed."""
    last = going_on.last if going_on is not None else None
    query = ReadQuery(known_at=header.known_at, recorded_from=None if last is None else last.recorded_time)
    passed = last is None
    async for event in history.read_category(header.category, query):
        if passed:
            yield event
        elif last is not None and (event.stream, event.sequence) == (last.stream, last.sequence):
            passed = True
    if not passed:
        raise Invalid("the history does not have the last event of the archive: it is of another mesh")


async def _framed(events: AsyncIterator[Event[bytes]]) -> AsyncIterator[list[Event[bytes]]]:
    held: list[Event[bytes]] = []
    size = 0
    async for event in events:
        held.append(event)
        size += len(event.data)
        if len(held) == FRAME or size > FRAME_DATA:
            yield held
            held, size = [], 0
    if held:
        yield held


async def bring_in(history: History, path: Path, *, report: Report = lambda _: None) -> Checked:
    """Append the events of an archive to their streams, at their versions and with their ids: to repeat it is harmless.

    The order of the archive, which is that of recording, is kept in each stream, and over all streams that share a partition.
    Over partitions it is kept from call to call, and an event stands behind its cause. An append that had to be repeated may
    stand behind some of other streams. An archive of few streams that take turns is slow to bring in: a call ends where a
    stream comes again, for what stands behind a refused event must not be tried.

    The whole file is checked first; nothing is appended of one that is cut short (CutShort). Raises what an append is refused
    with: a stream that has other events at these versions is not touched.
    """
    checked = check(path)
    done = 0
    for block in read(path, checked):
        for window in _windows(block.events()):
            await _append(history, _requests(window))
        done += len(block.lines)
        report(done)
    return checked


def _windows(events: Iterable[Event[bytes]]) -> Iterator[list[Event[bytes]]]:
    """The events of one call each: of each stream one run, no effect with its cause, and a mark alone."""
    held = _Window()
    for event in events:
        if not held.takes(event):
            yield held.events
            held = _Window()
        held.add(event)
    if held.events:
        yield held.events


class _Window:
    """What goes in one call."""

    def __init__(self) -> None:
        self.events: list[Event[bytes]] = []
        self._streams: dict[str | None, str] = {}  # of the events, by id
        self._begun: set[str] = set()
        self._size = 0

    def takes(self, event: Event[bytes]) -> bool:
        """Whether one more fits, without loss of order or of safety."""
        if not self.events:
            return True
        last = self.events[-1]
        if event.type in MARKS or last.type in MARKS or len(self.events) == WINDOW:
            return False
        again = event.stream != last.stream and event.stream in self._begun
        effect = self._streams.get(event.causation_id, event.stream) != event.stream
        return not again and not effect and self._size + _size(event) <= WINDOW_BYTES

    def add(self, event: Event[bytes]) -> None:
        """One more."""
        self.events.append(event)
        self._streams[event.id] = event.stream
        self._begun.add(event.stream)
        self._size += _size(event)


def _size(event: Event[bytes]) -> int:
    return to_proto(event).ByteSize()


def _requests(window: Sequence[Event[bytes]]) -> list[AppendRequest]:
    """One request for each stream: where it is refused, nothing of that stream stands behind it in the same call."""
    return [_request(list(run)) for _, run in groupby(window, key=lambda event: event.stream)]


def _request(events: Sequence[Event[bytes]]) -> AppendRequest:
    first = events[0]
    return AppendRequest(first.stream, events, Expected(Expect.EXACT, (first.sequence or 1) - 1))


async def _append(history: History, requests: Sequence[AppendRequest]) -> None:
    for request, outcome in zip(requests, await history.append(requests), strict=True):
        if isinstance(outcome, IdConflict) and len(request.events) > 1:
            await _append_singly(history, request)  # an earlier archive ended within these events
        else:
            _must_be_done(request, outcome)


async def _append_singly(history: History, request: AppendRequest) -> None:
    for event in request.events:
        one = _request([event])
        [outcome] = await history.append([one])
        _must_be_done(one, outcome)


def _must_be_done(request: AppendRequest, outcome: AppendOutcome) -> None:
    first = request.events[0].sequence
    if isinstance(outcome, NervError):
        detail = f"{request.stream} from version {first}: {outcome.detail}"
        raise type(outcome)(detail, errors=outcome.errors, retry_after=outcome.retry_after)
    if isinstance(outcome, Appended) and outcome.first_version != first:
        raise Invalid(f"{request.stream} has version {first} of the archive at {outcome.first_version}")

# SPDX-License-Identifier: Apache-2.0
"""What a group on Redis must do, as plain objects: one list of entries, in the order in which they came."""

from dataclasses import dataclass, field


@dataclass
class Held:
    """An entry that is not settled."""

    id: str
    offset: int
    key: bytes | None
    again: bool
    state: str = "waiting"  # waiting, ready, in hand, delayed, doomed
    attempt: int = 0
    spared: int = 0
    verb: str = ""
    due: bool = True  # of a delayed one: by the next tick


@dataclass
class Model:
    """One partition of a group."""

    window: int
    most: int
    next: int = 0
    entries: list[Held] = field(default_factory=list)
    ready: list[str] = field(default_factory=list)  # in the order in which they became so
    doomed: list[str] = field(default_factory=list)  # likewise
    done: set[str] = field(default_factory=set)

    @property
    def floor(self) -> int:
        """The first offset that is not settled."""
        return min((one.offset for one in self.entries if not one.again), default=self.next)

    def get(self, entry: str) -> Held | None:
        """An entry that is not settled."""
        return next((one for one in self.entries if one.id == entry), None)

    def put(self, offset: int, key: bytes | None, *, again: bool = False) -> None:
        """Behind the last one of its key, or ready at once."""
        one = Held(f"0:{offset}{':r' if again else ''}", offset, key, again)
        first = key is None or all(other.key != key for other in self.entries)
        self.entries.append(one)
        if first:
            self.make_ready(one)

    def make_ready(self, one: Held) -> None:
        """It may be fetched."""
        one.state = "ready"
        self.ready.append(one.id)

    def fetch(self, limit: int) -> list[tuple[str, int]]:
        """First come, first served: entries and attempts."""
        taken, self.ready = self.ready[:limit], self.ready[limit:]
        found = []
        for entry in taken:
            one = self.the(entry)
            one.state, one.attempt = "in hand", one.attempt + 1
            found.append((entry, one.attempt))
        return found

    def the(self, entry: str) -> Held:
        """An entry that is there."""
        one = self.get(entry)
        assert one is not None
        return one

    def settle(self, one: Held, *, parked: bool = False) -> None:
        """It is gone; the next one of its key goes on, or is given up with it."""
        self.entries.remove(one)
        if one.id in self.doomed:
            self.doomed.remove(one.id)
        behind = None if one.key is None else next((o for o in self.entries if o.key == one.key), None)
        if behind is None:
            return
        if parked:
            self.doom(behind, "held")
        else:
            self.make_ready(behind)

    def doom(self, one: Held, verb: str) -> None:
        """It is given up, until that is recorded."""
        one.state, one.verb = "doomed", verb
        self.doomed.append(one.id)

    def fail(self, one: Held, *, due: bool) -> None:
        """An attempt failed."""
        if one.attempt - one.spared >= self.most:
            self.doom(one, "park")
        else:
            one.state, one.due = "delayed", due

    def due(self) -> list[Held]:
        """The delayed ones that a tick makes ready."""
        return [one for one in self.entries if one.state == "delayed" and one.due]

    def given_up(self) -> list[tuple[str, str]]:
        """What a tick tells: each one that was given up, and for a parked one those behind it."""
        found: dict[str, str] = {}
        for entry in self.doomed:
            one: Held | None = self.the(entry)
            while one is not None and one.id not in found:
                found[one.id] = one.verb or "held"
                if one.verb == "skip":
                    break
                one = self._behind(one)
        return list(found.items())

    def _behind(self, one: Held) -> Held | None:
        if one.key is None:
            return None
        later = self.entries[self.entries.index(one) + 1 :]
        return next((other for other in later if other.key == one.key), None)

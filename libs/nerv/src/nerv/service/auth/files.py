# SPDX-License-Identifier: Apache-2.0
"""A file of settings that is read again when it changes, as a Secret of Kubernetes does under a service that runs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from nerv.errors import Misconfigured

log = structlog.get_logger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 1.0  # how often a file is looked at, at most


class Watched(Generic[T]):
    """What a file says. One that cannot be read any more, or says nonsense, leaves what was known, and is logged."""

    def __init__(self, variable: str, path: Path, parse: Callable[[bytes], T], form: str) -> None:
        """Raises Misconfigured, naming `variable` and the `form`, and nothing of what the file holds."""
        self._path, self._parse = path, parse
        self._fault = f"{variable} ({path}) must be {form}"
        self._stamp = self._stat()
        self._looked = time.monotonic()
        self._value = self._read()

    def value(self) -> T:
        """What it says now, or said a second ago."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            stamp = self._stat()
            if stamp != self._stamp:
                self._value, self._stamp = self._read(), stamp
                log.info("auth.file_read_again", path=str(self._path))
        except Misconfigured as error:
            log.error("auth.file_refused", detail=error.detail)

    def _read(self) -> T:
        try:
            return self._parse(self._path.read_bytes())
        except (OSError, TypeError, ValueError, KeyError):
            # The text of the error could hold a secret, so it is not passed on.
            raise Misconfigured(self._fault) from None

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            raise Misconfigured(self._fault) from None
        return found.st_mtime_ns, found.st_size, found.st_ino

# SPDX-License-Identifier: Apache-2.0
"""Passwords of users in a folder: a file each, named like the user, that its owner alone may read."""

import secrets
from collections.abc import Iterable
from pathlib import Path

from nerv.errors import Misconfigured

BYTES = 32  # of chance


def passwords(folder: Path, users: Iterable[str]) -> dict[str, str]:
    """The password of each user; whoever has no file gets one. Raises Misconfigured."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return {user: _password(folder / user) for user in dict.fromkeys(users)}
    except OSError as error:
        raise Misconfigured(f"cannot keep passwords in {folder}: {error.strerror}") from error


def _password(file: Path) -> str:
    if not file.exists():
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(f"{secrets.token_urlsafe(BYTES)}\n", encoding="utf-8")
    found = file.read_text(encoding="utf-8").strip()
    if not found:
        raise Misconfigured(f"{file} is empty: write a password into it, or remove it and one is made")
    return found

# SPDX-License-Identifier: Apache-2.0
"""`make docs`: write anew what is made from the code: whole files, and parts of pages between their marks."""

import sys
from pathlib import Path

from docs.making.files import made

ROOT = Path(__file__).parent.parent.parent


def main() -> None:
    """Write what differs, and name it."""
    for path, make in made(ROOT).items():
        text = make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()

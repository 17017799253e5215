# SPDX-License-Identifier: Apache-2.0
"""What our packages say that they need is what runs here: who installs them by pip gets all of it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = [ROOT / "libs" / "nerv", *sorted((ROOT / "services").iterdir())]


def needed(text: str) -> tuple[str, str]:
    """The name and the bound of a requirement, without its marker."""
    found = re.match(r"([\w.\-]+(?:\[[\w,]+\])?)\s*([^;#]*)", text)
    assert found is not None, text
    return found[1].lower(), found[2].strip()


def declared() -> dict[str, set[str]]:
    """What the packages need, extras included, with each bound that is said."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        for text in [*project.get("dependencies", []), *(text for extra in extras for text in extra)]:
            name, bound = needed(text)
            found.setdefault(name, set()).add(bound)
    return found


def test_what_the_image_installs_is_what_the_packages_need() -> None:
    """Each line of requirements/mesh.in is in a pyproject.toml, with the same bound."""
    lines = (ROOT / "requirements" / "mesh.in").read_text(encoding="utf-8").splitlines()
    wanted = dict(needed(line) for line in lines if line and line[0].isalpha())
    assert len(wanted) > 30
    packages = declared()
    assert {name: bound for name, bound in wanted.items() if bound not in packages.get(name, set())} == {}

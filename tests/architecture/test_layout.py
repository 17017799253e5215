# SPDX-License-Identifier: Apache-2.0
"""Services have the same rooms, so that who knows one finds the way in all."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")
ROOMS = ("__init__.py", "__main__.py", "app.py", "settings.py", "model.py", "handlers.py")
HEADINGS = ("Purpose", "Reads", "Writes", "Settings", "When it fails", "Run it alone")
PURE = {
    "aiohttp",
    "asyncio",
    "confluent_kafka",
    "faust",
    "redis",
    "rocksdict",
    "socket",
    "starlette",
    "subprocess",
    "time",
}
PURE_ROOMS = {"nerv.client", "nerv.kafka", "nerv.redis", "nerv.service"}
# The one thing of nerv.kafka that is plain data: what becomes of a record is decided by a pure function, too.
PLAIN_DATA = {"nerv.kafka.records", "nerv.kafka.partitioner", "nerv.kafka.deadletters"}


def source_of(service: str) -> Path:
    """The package of a service."""
    return ROOT / "services" / service / "src" / f"nerv_{service}"


def tracked() -> list[Path]:
    """The files of the repository, or of its copy."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def imports(path: Path) -> set[str]:
    """The modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_rooms(service: str) -> None:
    """Every service has the same files."""
    missing = [room for room in ROOMS if not (source_of(service) / room).is_file()]
    assert not missing


@pytest.mark.parametrize("service", SERVICES)
def test_the_entry_point_only_enters(service: str) -> None:
    """`__main__.py` has at most 15 lines, and `app.py` at most 120."""
    assert len((source_of(service) / "__main__.py").read_text().splitlines()) <= 15
    assert len((source_of(service) / "app.py").read_text().splitlines()) <= 120


@pytest.mark.parametrize("service", SERVICES)
def test_the_readme_answers_the_six_questions(service: str) -> None:
    """Purpose, reads, writes, settings, when it fails, run it alone: in this order."""
    text = (ROOT / "services" / service / "README.md").read_text(encoding="utf-8")
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert tuple(h for h in headings if h in HEADINGS) == HEADINGS


@pytest.mark.parametrize("service", SERVICES)
def test_the_model_is_pure(service: str) -> None:
    """`model.py` imports nothing that does I/O, waits, or looks at a clock."""
    found = imports(source_of(service) / "model.py")
    assert not {name for name in found if name.partition(".")[0] in PURE}
    assert not {n for n in found if n not in PLAIN_DATA and any(n == r or n.startswith(f"{r}.") for r in PURE_ROOMS)}


@pytest.mark.parametrize("service", SERVICES)
def test_routes_are_a_table_at_the_foot_of_the_handlers(service: str) -> None:
    """`ROUTES` is the last statement of `handlers.py`; what all services answer alike the chassis adds."""
    body = ast.parse((source_of(service) / "handlers.py").read_text(encoding="utf-8")).body
    last = body[-1]
    assert isinstance(last, ast.Assign)
    assert isinstance(last.targets[0], ast.Name)
    assert last.targets[0].id == "ROUTES"
    assert "/.well-known/nerv" not in ast.unparse(last)


def test_import_rules_hold() -> None:
    """import-linter's contracts in pyproject.toml are kept."""
    command = str(Path(sys.executable).with_name("lint-imports"))
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_source_names_its_licence() -> None:
    """The second word of every program is its licence."""
    endings = {".py", ".proto", ".sh", ".lua", ".go"}
    missing = [
        path.relative_to(ROOT)
        for path in tracked()
        if path.suffix in endings
        and "nerv/api" not in path.as_posix().removeprefix(f"{ROOT.as_posix()}/libs")
        and "SPDX-License-Identifier: Apache-2.0" not in path.read_text(encoding="utf-8")[:200]
    ]
    assert not missing


def test_no_place_of_one_machine_is_in_the_tree() -> None:
    """No home directory and no work folder: only what every machine has."""
    pattern = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/[a-z]")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        for match in [pattern.search(path.read_text(encoding="utf-8", errors="replace"))]
        if match
    ]
    assert not found


def test_pins_name_no_address() -> None:
    """Pinned versions come with hashes, and without the address of the registry that they were found in."""
    pins = [path for path in tracked() if path.suffix in {".txt", ".sum"} and path.name != "LICENSE"]
    hashed = [path for path in pins if path.parent.name in {"requirements", "peers", "check"}]
    assert hashed
    for path in hashed:
        text = path.read_text(encoding="utf-8")
        assert "://" not in text, path
        assert "--hash=sha256:" in text or path.suffix == ".sum", path


def test_no_drawer_for_everything() -> None:
    """No module is called utils, helpers or common."""
    bad = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [path for path in tracked() if path.stem in bad or path.parent.name in bad]

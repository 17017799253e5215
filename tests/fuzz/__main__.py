# SPDX-License-Identifier: Apache-2.0
"""`make fuzz`: a million inputs to the parsers, 20,000 requests to a broker by its OpenAPI document. SCALE=0.1 makes them fewer.

Ends with 1 at a crash of a parser, or at an answer that the document does not declare.
"""

import asyncio
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from bench.harness import peer_python, scale
from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from tests.fuzz.targets import EXAMPLES, TARGETS

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
APPS = ROOT / "tests" / "apps"
RUNS, REQUESTS = 1_000_000, 20_000
EXAMPLES_EACH = 50  # requests to each operation with one seed
ENDLESS = "group_events"  # answers for as long as somebody listens
TURN_SECONDS = 1800.0


def main() -> int:
    """Both, whatever the first one finds."""
    try:
        size = scale(os.environ)
        python = peer_python("fuzz", HERE / "requirements.txt")
        good = parsers(python, max(10_000, int(RUNS * size)))
        return 0 if asyncio.run(door(python, max(500, int(REQUESTS * size)))) and good else 1
    except NervError as error:
        sys.stderr.write(f"fuzz cannot run: {error}\n")
        return 1


def parsers(python: str, runs: int) -> bool:
    """Atheris, in an environment of its own that sees our packages."""
    sources = [ROOT, ROOT / "libs/nerv/src", ROOT / "services/broker/src", sysconfig.get_path("purelib")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nerv-fuzz-") as folder:
        for number, target in enumerate(TARGETS):
            (Path(folder) / target.__name__).write_bytes(bytes([number]) + EXAMPLES[target.__name__])
        done = subprocess.run(
            [python, "-m", "tests.fuzz.parsers", str(runs), folder],
            env=environment, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=TURN_SECONDS, check=False,
        )  # fmt: skip
    good = done.returncode == 0 and f"Done {runs}" in done.stderr + done.stdout
    if not good:
        sys.stdout.write(f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n")
    sys.stdout.write(f"FUZZ parsers runs={runs} seconds={time.monotonic() - began:.0f} {'ok' if good else 'CRASHED'}\n")
    return good


async def door(python: str, requests: int) -> bool:
    """Schemathesis, one seed after the other until the broker has counted so many requests."""
    sent, seed, found = 0, 0, list[str]()
    with tempfile.TemporaryDirectory(prefix="nerv-fuzz-") as folder:
        mesh = LocalMesh(
            app="ledger:app",
            services=["temporal", "broker"],
            folder=Path(folder) / ".nerv",
            env={"PYTHONPATH": str(APPS), "LEDGER_TOPICS": "fuzz"},
        )
        async with mesh, Client({"broker": mesh.url("broker")}) as client:
            await client.topics.create("fuzz.bare.v1", 4)
            while sent < requests and not found:
                seed += 1
                told = await asyncio.to_thread(_turn, python, mesh.url("broker"), seed)
                sent, failed = await _counted(client)
                if told or failed:
                    found.append(f"{told}\n{failed} requests failed, the log has their causes: {folder}")
                sys.stderr.write(f"{sent} requests\n")
    for text in found:
        sys.stdout.write(f"{text}\n")
    sys.stdout.write(f"FUZZ door requests={sent} seeds={seed} {'UNDECLARED' if found else 'ok'}\n")
    return not found


def _turn(python: str, url: str, seed: int) -> str:
    """One seed; answers what was found, or nothing."""
    command = [
        str(Path(python).with_name("st")), "--no-color", "run", f"{url}/openapi.json", "--phases", "fuzzing",
        "--checks", "status_code_conformance,content_type_conformance", "--max-examples", str(EXAMPLES_EACH),
        "--exclude-operation-id", ENDLESS,
        "--workers", "1", "--seed", str(seed), "--request-timeout", "30", "--continue-on-failure", "--no-shrink",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "SCHEMATHESIS_HOOKS": "hooks",
        "FUZZ_TOPICS": "fuzz.account.v1,fuzz.bare.v1",
    }
    with tempfile.TemporaryDirectory(prefix="nerv-fuzz-") as folder:
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=TURN_SECONDS, check=False
        )
    return "" if done.returncode == 0 else f"seed {seed}:\n{done.stdout[-6000:]}\n{done.stderr[-1000:]}"


async def _counted(client: Client) -> tuple[int, int]:
    """Requests that came to a door of the broker, and those that failed there."""
    parts = (await client.components("broker"))["parts"]
    counters = [part["counters"] for part in parts if part["kind"] == "Door"]
    return sum(sum(one.values()) for one in counters), sum(one.get("failed", 0) for one in counters)


if __name__ == "__main__":
    sys.exit(main())

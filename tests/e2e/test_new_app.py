# SPDX-License-Identifier: Apache-2.0
"""A new app from nothing: a fresh machine's home, our wheels and a registry, `nerv new`, its tests, `nerv dev`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import environment, heed_ctrl_c, marked

ROOT = Path(__file__).parent.parent.parent
SECONDS = 600.0  # for all of it, so that a slow registry fails no test; what it took is printed
# Where this machine says which registries it uses; the fresh home has that, and nothing else.
REGISTRIES = (".config/pip/pip.conf", ".pip/pip.conf", ".config/jgo.conf", ".jgorc")
ORDER = {"order": "o1", "customer": "ann", "item": "tea", "cups": 2, "cents": 700}

pytestmark = pytest.mark.timeout(SECONDS + 120)


class Newcomer:
    """Somebody at a new machine: a home, a virtual environment, and the commands that they type."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.began = time.monotonic()
        self.laps: dict[str, float] = {}
        self.venv = folder / "venv"
        home = folder / "home"
        for name in REGISTRIES:
            if (Path.home() / name).is_file():
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path.home() / name, home / name)
        home.mkdir(exist_ok=True)
        base = environment(mark)
        for name in ("VIRTUAL_ENV", "PYTHONPATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            base.pop(name, None)
        paths = [path for path in base["PATH"].split(os.pathsep) if Path(path) != Path(sys.executable).parent]
        base["PATH"] = os.pathsep.join([str(self.venv / "bin"), *paths])
        self.environment = {**base, "HOME": str(home)}

    def type(self, folder: Path, *words: str) -> str:
        """Run a command to its end; it must succeed. What it wrote to standard output."""
        left = self.began + SECONDS - time.monotonic()
        done = subprocess.run(
            words, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=left, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for something, under the deadline of all; answers it."""
        while not (found := condition()):
            assert time.monotonic() < self.began + SECONDS, what
            time.sleep(0.1)
        return found

    def lap(self, name: str) -> None:
        """Note how long it took up to here."""
        self.laps[name] = round(time.monotonic() - self.began, 1)


def test_a_new_app_runs_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Installed from wheels it passes its own tests, and under `nerv dev` an order becomes a view, and Ctrl-C ends it all."""
    mark = uuid.uuid4().hex
    wheels, work = tmp_path / "wheels", tmp_path / "work"
    work.mkdir()
    subprocess.run(["make", "--silent", "wheels", f"DIST={wheels}"], cwd=ROOT, check=True, capture_output=True)

    me = Newcomer(tmp_path, mark)
    me.type(work, sys.executable, "-m", "venv", str(me.venv))
    me.type(work, "pip", "install", "--quiet", "--find-links", str(wheels), "nerv-mesh[dev,services,testing]")
    me.lap("installed")
    me.type(work, "nerv", "new", "shop")
    app = work / "shop"
    me.type(app, "pip", "install", "--quiet", "-e", ".[dev]")
    assert "8 passed" in me.type(app, "pytest", "-q")
    assert "order.placed.v1" in me.type(app, "nerv", "describe")
    me.lap("tested")
    with (
        (tmp_path / "dev.out").open("wb") as out,
        subprocess.Popen(
            [str(me.venv / "bin" / "nerv"), "dev"],
            cwd=app, env=me.environment, stdout=out, stderr=subprocess.STDOUT, preexec_fn=heed_ctrl_c,
        ) as dev,
    ):  # fmt: skip
        try:
            use(me, app, dev, tmp_path / "dev.out")
            dev.send_signal(signal.SIGINT)
            assert dev.wait(60) == 0
        finally:
            if dev.poll() is None:
                dev.kill()  # its guard ends the rest
    assert marked(mark) == []
    with capsys.disabled():
        sys.stderr.write(f"\na new app from nothing, seconds: {me.laps}\n")


def use(me: Newcomer, app: Path, dev: "subprocess.Popen[bytes]", said: Path) -> None:
    """What the README of the new app says to type."""

    def ready() -> bool:
        text = said.read_text(errors="replace")
        assert dev.poll() is None, text
        return "Ctrl-C stops everything" in text

    me.until(ready, "nerv dev is not ready")
    me.lap("ready")

    def view(*options: str) -> dict[str, Any] | None:
        command = ["nerv", "view", "order", "o1", *options, "--json"]
        done = subprocess.run(command, cwd=app, env=me.environment, capture_output=True, text=True, check=False)
        found: dict[str, Any] | None = json.loads(done.stdout)["state"] if done.returncode == 0 else None
        return found

    me.type(app, "nerv", "publish", "shop.order.v1", json.dumps(ORDER), "--type", "order.placed.v1")
    assert me.until(view, "the order is in no view")["customer"] == "ann"
    me.lap("seen")
    assert view("--perspective", "kitchen") == {"item": "tea", "cups": 2, "cancelled": False}
    run = json.loads(me.type(app, "nerv", "workflow", "start", "turnover", '{"orders": ["o1"]}', "--wait", "--json"))
    assert run["result"] == {"orders": 1, "cents": 700}
    assert "version 2" in me.type(app, "python", "-m", "shop.cancel", "o1")
    me.until(lambda: (view() or {}).get("cancelled"), "the cancelled order is in no view")

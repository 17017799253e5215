# SPDX-License-Identifier: Apache-2.0
"""`nerv dev` as a person runs it: ready, table, context file, a dead service named, and nothing left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.processes import heed_ctrl_c

APPS = Path(__file__).parent.parent.parent / "apps"
NERV = Path(sys.executable).with_name("nerv")
DEADLINE = 90.0


class Dev:
    """A running `nerv dev` in a folder, and what it has said."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder = folder
        self.said = folder / "dev.out"
        base = {k: v for k, v in os.environ.items() if not k.startswith("NERV_")}
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                [str(NERV), "dev", *options],
                cwd=folder, stdout=out, stderr=subprocess.STDOUT, env={**base, "PYTHONPATH": str(APPS), **environment},
                preexec_fn=heed_ctrl_c,
            )  # fmt: skip

    @property
    def text(self) -> str:
        """All that it has said so far, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.said.read_text(encoding="utf-8", errors="replace"))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; fails with what was said when the command ends or time is up."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)

    def context(self) -> dict[str, dict[str, int]]:
        """What `.nerv/context.json` holds."""
        document: dict[str, dict[str, int]] = json.loads((self.folder / ".nerv" / "context.json").read_text())
        return document

    def stop(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def running(folder: Path, *options: str, **environment: str) -> Iterator[Dev]:
    """`nerv dev`, ready; stopped in the end, whatever happens."""
    dev = Dev(folder, *options, **environment)
    try:
        dev.until(lambda: "Ctrl-C stops everything" in dev.text)
        yield dev
    finally:
        if dev.process.poll() is None:
            dev.process.kill()  # its guard ends the rest
            dev.process.wait(30)


@pytest.fixture
def names() -> dict[str, str]:
    """A mesh and topics of the test's own."""
    return {"NERV_MESH": f"t{uuid.uuid4().hex[:8]}", "LEDGER_TOPICS": f"ledger-{uuid.uuid4().hex[:8]}"}


def test_it_brings_everything_up_and_leaves_nothing_behind(tmp_path: Path, names: dict[str, str]) -> None:
    """A Kafka and a Redis of its own; the table and the context file name what runs; Ctrl-C ends all of it."""
    environment = {**names, "KAFKA_BOOTSTRAP_SERVERS": "", "REDIS_URL": ""}
    with running(tmp_path, "--app", "ledger:app", "--services", "temporal,broker", **environment) as dev:
        context = dev.context()
        pids = context["pids"]
        assert pids.keys() == {"supervisor", "kafka", "redis", "temporal", "broker"}
        for name in ("kafka", "redis", "temporal", "broker"):
            assert psutil.pid_exists(pids[name])
            assert name in dev.text
            assert str(pids[name]) in dev.text
        assert "NERV_INSECURE_DEV" in dev.text
        status = subprocess.run(
            [str(NERV), "status", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert {row["status"] for row in json.loads(status.stdout)["services"]} == {"up"}
        assert dev.stop() == 0
        assert not [name for name, pid in pids.items() if psutil.pid_exists(pid) and name != "supervisor"]
        assert not (tmp_path / ".nerv" / "context.json").exists()


def test_a_service_that_dies_is_named_with_its_last_lines(
    tmp_path: Path, names: dict[str, str], kafka: str, redis_url: str
) -> None:
    """Who died and what it said; the others go on, and the exit code tells. The given servers are used and left alone."""
    environment = {**names, "KAFKA_BOOTSTRAP_SERVERS": kafka, "REDIS_URL": redis_url}
    with running(tmp_path, "--app", "ledger:app", "--services", "temporal,broker", **environment) as dev:
        pids = dev.context()["pids"]
        assert "kafka" not in pids
        os.kill(pids["broker"], signal.SIGKILL)
        dev.until(lambda: "broker died" in dev.text)
        assert "SIGKILL" in dev.text
        assert psutil.pid_exists(pids["temporal"])
        assert dev.stop() == 1
        assert not psutil.pid_exists(pids["temporal"])


def test_json_is_one_document_when_ready(tmp_path: Path, names: dict[str, str], kafka: str, redis_url: str) -> None:
    """Machines read standard output; logs and phases are on standard error."""
    environment = {
        **os.environ,
        **names,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "REDIS_URL": redis_url,
        "PYTHONPATH": str(APPS),
    }
    command = [str(NERV), "dev", "--app", "ledger:app", "--services", "temporal", "--json"]
    with (
        (tmp_path / "err").open("wb") as err,
        subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=err, env=environment, preexec_fn=heed_ctrl_c
        ) as process,
    ):
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        assert document["mesh"] == names["NERV_MESH"]
        assert document["services"]["temporal"]["url"].startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b""
        assert process.wait(60) == 0


def test_persisted_data_is_there_after_a_restart(tmp_path: Path, names: dict[str, str]) -> None:
    """With --persist, Kafka keeps what was appended. It is there in a copy, too, that was made while Kafka was down, of its data
    alone: index and Redis are made anew."""
    environment = {**names, "KAFKA_BOOTSTRAP_SERVERS": "", "REDIS_URL": ""}
    options = ("--app", "ledger:app", "--services", "temporal", "--persist")
    data = '{"account": "ann", "amount": 5}'
    with running(tmp_path, *options, **environment) as dev:
        append = [str(NERV), "append", "account-ann", data, "--type", "account.deposited.v1"]
        subprocess.run(append, cwd=tmp_path, check=True, capture_output=True)
        assert dev.stop() == 0
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / ".nerv" / "data" / "kafka" / "data", copy / ".nerv" / "data" / "kafka" / "data")
    with running(copy, *options, **environment) as dev:
        state = [str(NERV), "state", "account-ann", "--json"]
        found = subprocess.run(state, cwd=copy, check=True, capture_output=True, text=True).stdout
        assert json.loads(found)["state"] == {"balance": 5, "deposits": 1}
        assert dev.stop() == 0


def test_an_app_that_is_not_there_is_said_at_once(tmp_path: Path, kafka: str, redis_url: str) -> None:
    """Wrong use: exit 2, and nothing is left running."""
    done = subprocess.run(
        [str(NERV), "dev", "--app", "nowhere_at_all:app"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka, "REDIS_URL": redis_url},
    )  # fmt: skip
    assert done.returncode == 2
    assert "nowhere_at_all" in done.stdout + done.stderr


def test_reload_restarts_the_services_when_the_app_changes(
    tmp_path: Path, names: dict[str, str], kafka: str, redis_url: str
) -> None:
    """A changed file of the app is in force a moment later, in new processes."""
    app = tmp_path / "changing.py"
    text = "import nerv\n\napp = nerv.App('{name}')\n"
    app.write_text(text.format(name="before"))
    environment = {**names, "KAFKA_BOOTSTRAP_SERVERS": kafka, "REDIS_URL": redis_url, "PYTHONPATH": str(tmp_path)}
    with running(tmp_path, "--app", "changing:app", "--services", "temporal", "--reload", **environment) as dev:
        before = dev.context()["pids"]["temporal"]
        saved = 0.0

        def reloaded() -> bool:
            nonlocal saved
            if time.monotonic() - saved > 5:  # a change before the watcher stands is seen by nobody
                app.write_text(text.format(name=f"after {time.monotonic()}"))
                saved = time.monotonic()
            return dev.context()["pids"]["temporal"] != before

        dev.until(reloaded)
        assert dev.stop() == 0

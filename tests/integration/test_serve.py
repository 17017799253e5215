# SPDX-License-Identifier: Apache-2.0
"""Every service runs alone, by both of its commands, and denies by default."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

APPS = Path(__file__).parent.parent / "apps"
NERV = Path(sys.executable).with_name("nerv")
SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")


def environment(**more: str) -> dict[str, str]:
    """What a service of nobody's mesh sees."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("NERV_", "OTEL_"))}
    return base | {"NERV_APP": "ledger:app", "PYTHONPATH": str(APPS), "NERV_MESH": f"t{uuid.uuid4().hex[:8]}"} | more


@pytest.mark.parametrize("service", SERVICES)
def test_without_authentication_it_does_not_start(service: str) -> None:
    """Exit 2, and the text names the settings; the same by `nerv serve` and by `python -m`."""
    for command in ([str(NERV), "serve", service], [sys.executable, "-m", f"nerv_{service}"]):
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, done.stderr
        assert "NERV_AUTH__TOKENS_FILE" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_wrong_settings_are_named(service: str) -> None:
    """Every variable that is wrong, at once."""
    wrong = environment(NERV_HTTP__PORT="eighty", NERV_MESH="Not A Mesh")
    command = [sys.executable, "-m", f"nerv_{service}"]
    done = subprocess.run(command, env=wrong, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "NERV_HTTP__PORT" in done.stderr
    assert "NERV_MESH" in done.stderr

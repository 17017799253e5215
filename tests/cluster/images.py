# SPDX-License-Identifier: Apache-2.0
"""The images: of the mesh, of the flights app made FROM it, of the releases that are rolled out; and their way in."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.cluster.commands import ROOT, SCRIPTS, run
from tests.cluster.kubernetes import Kubernetes

BASE = "local/python-base:3.11"
PAUSE = "local/pause:3"
MESH = "local/nerv-mesh:cluster-test"
APP = "local/nerv-flights"
EXAMPLE = ROOT / "examples" / "flights"
DATA = ROOT / "requirements" / "flights.txt"

# The app's own image (examples/flights/Dockerfile), plus the package with the flights, from which it reads its registers. That
# wants pandas, which nobody here needs.
APP_FILE = f"""\
FROM {APP}:code
USER 0
COPY *.whl /tmp/
RUN pip install --no-cache-dir --no-deps /tmp/*.whl && rm /tmp/*.whl
USER 10001:10001
"""
# What is rolled out: two releases that differ in nothing but being two, and one whose services end at once (its other commands
# work, so that the chart's job for topics does not stop it before).
RELEASES = {
    "1": f"FROM {APP}:app\nENV RELEASE=1\n",
    "2": f"FROM {APP}:app\nENV RELEASE=2\n",
    "broken": f'FROM {APP}:app\nENTRYPOINT ["sh", "-c", "[ $1 = serve ] && exit 1; exec nerv $*", "-"]\n',
}


async def docker_host() -> str:
    """Where Docker answers; one is started when there is none. Raises Unavailable, saying how to get one."""
    return (await run(SCRIPTS / "docker.sh", seconds=60.0)).strip()


async def build(docker: str) -> None:
    """All images, from this working copy. Raises Unavailable with what the build said last."""
    env = {"DOCKER_HOST": docker}
    base = os.environ.get("BASE_IMAGE") or BASE
    if base == BASE:
        await run(SCRIPTS / "base-image.sh", BASE, env=env)
    await run(SCRIPTS / "pause-image.sh", env=env)
    await run(ROOT / "deploy" / "docker" / "build.sh", env={**env, "BASE_IMAGE": base, "TAG": MESH})
    with tempfile.TemporaryDirectory(prefix="nerv-cluster-") as name:
        code, data = Path(name) / "code", Path(name) / "data"
        await _wheel(code / "dist", EXAMPLE)
        shutil.copy(EXAMPLE / "Dockerfile", code)
        await run("docker", "build", "-q", "-t", f"{APP}:code", "--build-arg", f"NERV_IMAGE={MESH}", code, env=env)
        await _wheel(data, "--require-hashes", "-r", DATA)
        await run("docker", "build", "-q", "-t", f"{APP}:app", "-f", "-", data, env=env, stdin=APP_FILE.encode())
    for tag, text in RELEASES.items():
        await run("docker", "build", "-q", "-t", f"{APP}:{tag}", "-", env=env, stdin=text.encode())


async def _wheel(folder: Path, *what: str | Path) -> None:
    """Made here: a build in Docker needs no index of packages then."""
    await run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, *what)


async def bring_in(docker: str, kubernetes: Kubernetes) -> None:
    """From Docker into the node's containerd: there is no registry between them."""
    names = " ".join([PAUSE, *(f"{APP}:{tag}" for tag in RELEASES)])
    pipe = f"set -o pipefail; docker save {names} | ctr -n k8s.io images import -"
    await run("bash", "-c", pipe, env={**kubernetes.environment, "DOCKER_HOST": docker})

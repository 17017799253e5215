# SPDX-License-Identifier: Apache-2.0
"""`make image-check`: is the image what it is said to be? Asked of the image itself, by running it as strictly as it can be.

Every container has a user that nobody knows, no capability, no way to gain any, a read-only root and no network. DOCKER names
the program, TAG the image.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKER = os.environ.get("DOCKER") or "docker"
VERSION = tomllib.loads((ROOT / "libs/nerv/pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
FLIGHTS = f"nerv-flights:{VERSION}"  # the image of the demo's app, which is built here
IMAGE = os.environ.get("TAG") or f"nerv-mesh:{VERSION}"
SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")
LARGEST = 200_000_000  # bytes over the base
STRANGER = "54321:54321"  # a user of no name, as OpenShift gives
STRICT = (
    *("--read-only", "--tmpfs", "/tmp", "--user", STRANGER, "--cap-drop", "ALL"),  # noqa: S108 - in a container
    *("--security-opt", "no-new-privileges", "--network", "none"),
)
COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "tcc", "ld", "as", "make", "cmake", "rustc", "cargo", "go", "javac")
LABELS = ("title", "version", "revision", "source", "licenses", "created", "base.name")
START_SECONDS = "120"
# A service whose Kafka is out of reach: until its health check was answered, or it has ended and said why.
UNTIL_ASKED = """
nerv serve "$0" >/tmp/log 2>&1 &
until healthcheck | grep -q 'not ready'; do
  kill -0 $! || { grep -q 'Kafka does not answer' /tmp/log && exit 0; cat /tmp/log >&2; exit 1; }
  sleep 0.1
done
"""

# Run in the image, with its own Python.
LOOK = f"""
import importlib, json, pathlib, shutil, sysconfig
from importlib.metadata import distributions
site = pathlib.Path(sysconfig.get_path("purelib"))
broken = []
for path in site.rglob("*.so"):
    name = ".".join((*path.relative_to(site).parent.parts, path.name.partition(".")[0]))
    try:
        importlib.import_module(name.split(".")[0])
        importlib.import_module(name)
    except Exception as error:
        if "psycopg package should be imported before" not in str(error):
            broken.append(f"{{name}}: {{error}}")
import psycopg
uncompiled = [str(path) for path in site.rglob("*.py") if not list((path.parent / "__pycache__").glob(path.stem + ".*.pyc"))]
print(json.dumps({{
    "compilers": [name for name in {COMPILERS!r} if shutil.which(name)],
    "broken": broken,
    "uncompiled": uncompiled,
    "sources": [str(path) for kind in ("*.c", "*.pyx", "*.h") for path in site.rglob(kind)],
    "packages": sorted(f"{{one.name.lower().replace('_', '-')}}=={{one.version}}" for one in distributions(path=[str(site)])),
}}))
"""
WRITABLE = "find /opt/nerv /usr /etc -writable -not -type l 2>/dev/null | head -5"


class Fault(Exception):
    """What is wrong with the image."""


def docker(*words: str, fails: bool = False) -> str:
    """What the command says, on both streams where it has to fail. Raises Fault where it does otherwise than it should."""
    done = subprocess.run((DOCKER, *words), capture_output=True, text=True, check=False, timeout=600)
    if (done.returncode != 0) != fails:
        raise Fault(f"{DOCKER} {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + (done.stderr if fails else "")


def inspected(image: str) -> dict[str, object]:
    """What Docker knows of an image. Raises Fault where it has none."""
    found: dict[str, object] = json.loads(docker("image", "inspect", image))[0]
    return found


def added(image: str, base: str) -> int:
    """The bytes that an image adds to the one that it is built on."""
    return int(str(inspected(image)["Size"])) - int(str(inspected(base)["Size"]))


def check_size() -> str:
    """It adds less than LARGEST to its base."""
    base = inspected(IMAGE)["Config"]["Labels"]["org.opencontainers.image.base.name"]  # type: ignore[index]
    if not docker("image", "ls", "--quiet", base):  # BuildKit keeps what it builds on to itself
        docker("pull", "--quiet", base)
    over = added(IMAGE, base)
    if over >= LARGEST:
        raise Fault(f"{IMAGE} has {over / 1e6:.0f} MB over {base}; {LARGEST / 1e6:.0f} are allowed")
    return f"{over / 1e6:.0f} MB over {base}"


def check_configuration() -> str:
    """Its labels say what it is, its user is not root, and it can be asked how it is."""
    config: dict[str, object] = inspected(IMAGE)["Config"]  # type: ignore[assignment]
    labels: dict[str, str] = config["Labels"]  # type: ignore[assignment]
    missing = [name for name in LABELS if f"org.opencontainers.image.{name}" not in labels]
    if missing or labels["org.opencontainers.image.version"] != VERSION:
        raise Fault(f"labels {missing} lack, or the version is not {VERSION}: {labels}")
    if config["User"] != "10001:10001" or config["Healthcheck"]["Test"] != ["CMD", "healthcheck"]:  # type: ignore[index]
        raise Fault(f"user {config['User']}, health check {config['Healthcheck']}")
    return f"user {config['User']}, {labels['org.opencontainers.image.revision'][:12] or 'no revision'}"


def pinned() -> list[str]:
    """What the image has to hold: the pins of requirements/mesh.txt for Linux, and our own packages."""
    lines = (ROOT / "requirements" / "mesh.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.rstrip(" \\") for line in lines if re.match(r"[a-z0-9]", line) and "== 'win32'" not in line]
    ours = ["nerv-mesh", *(f"nerv-mesh-{service}" for service in SERVICES)]
    return sorted([pin.partition(" ;")[0] for pin in pins] + [f"{name}=={VERSION}" for name in ours])


def check_contents() -> str:
    """The pinned packages and no other, compiled, without sources and symbols, loadable; no compiler; nothing to write to."""
    found = json.loads(docker("run", "--rm", *STRICT, "--entrypoint", "python", IMAGE, "-c", LOOK))
    packages = found.pop("packages")
    if packages != pinned():
        raise Fault(f"other packages than pinned: {sorted(set(packages) ^ set(pinned()))}")
    if wrong := {name: entries for name, entries in found.items() if entries}:
        raise Fault(f"in the image: {wrong}")
    if writable := docker("run", "--rm", *STRICT, "--entrypoint", "sh", IMAGE, "-c", WRITABLE):
        raise Fault(f"anybody may write to {writable.split()}")
    return f"{len(packages)} packages as pinned, no compiler"


def check_commands() -> str:
    """The command line answers; a service that is not set up says why, and ends with 2."""
    if "serve" not in docker("run", "--rm", *STRICT, IMAGE, "--help"):
        raise Fault("nerv --help does not name serve")
    took = []
    for service in SERVICES:
        began = time.monotonic()
        said = docker("run", "--rm", *STRICT, IMAGE, "serve", service, fails=True)
        took.append(time.monotonic() - began)
        if f"nerv {service} cannot start: no authentication" not in said:
            raise Fault(f"{service} without settings says: {said}")
    return f"five services that refuse to run open to everybody, the slowest {max(took):.1f} s after `docker run`"


def app_image(folder: Path, tag: str) -> None:
    """Build the image of an app by its own Dockerfile, as its README says."""
    python = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(python, cwd=folder, check=True, capture_output=True)
    docker("build", "--build-arg", f"NERV_IMAGE={IMAGE}", "--tag", tag, str(folder))


def described(tag: str) -> dict[str, list[object]]:
    """What `nerv describe` says of the image's app."""
    told: dict[str, list[object]] = json.loads(docker("run", "--rm", *STRICT, tag, "describe", "--json"))
    return told


def check_apps() -> str:
    """An image FROM it plus a wheel holds the app: that of the demo, and one that `nerv new` wrote."""
    with tempfile.TemporaryDirectory(prefix="nerv-image-") as scratch:
        subprocess.run(
            (Path(sys.executable).with_name("nerv"), "new", "shop", "--folder", scratch),
            check=True,
            capture_output=True,
        )
        flights = Path(scratch) / "flights"
        shutil.copytree(ROOT / "examples" / "flights", flights)
        told = []
        for folder, tag in ((flights, FLIGHTS), (Path(scratch) / "shop", "nerv-shop:check")):
            app_image(folder, tag)
            found = described(tag)
            if not (found["events"] and found["projections"] and found["workflows"]):
                raise Fault(f"{tag} describes no app: {found}")
            told.append(f"{tag} {added(tag, IMAGE) / 1e3:.0f} kB more")
    return ", ".join(told)


def check_starts() -> str:
    """Without Kafka each service, a stranger on a read-only root, is up and not ready, or has ended and said why."""
    nowhere = {"NERV_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "NERV_SERVICES__TEMPORAL": "http://127.0.0.1:1"}
    words = [f"--env={name}={value}" for name, value in {"NERV_INSECURE_DEV": "1", **nowhere}.items()]
    words += ["--tmpfs", "/var/lib/nerv", "--entrypoint", "timeout"]
    for service in SERVICES:
        docker("run", "--rm", *STRICT, *words, FLIGHTS, START_SECONDS, "sh", "-c", UNTIL_ASKED, service)
    return "not ready, or ended and said why, without Kafka"


CHECKS: tuple[Callable[[], str], ...] = (
    check_size,
    check_configuration,
    check_contents,
    check_commands,
    check_apps,
    check_starts,
)


def main() -> int:
    """All checks, each with what it found; the first fault ends them."""
    try:
        for check in CHECKS:
            sys.stdout.write(f"{check.__name__.removeprefix('check_'):14}{check()}\n")
            sys.stdout.flush()
    except Fault as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    sys.stdout.write(f"{IMAGE} is good\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

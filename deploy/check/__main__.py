# SPDX-License-Identifier: Apache-2.0
"""`deploy/check.sh` runs this: lint and render the chart, refuse bad values, compare what is kept in git, read compose.

`--write` makes the copies, the rendered examples and the README's table anew instead of comparing them.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.check import refusals, values
from deploy.check.policies import policies
from deploy.check.rules import RULES, SERVICES
from deploy.check.running import CHART, ROOT, Fault, Tools, documents
from nerv.acls import kafka_rights, names_of
from nerv.acls.forms import strimzi_users
from nerv.app import find_app

# A chart can read its own folder alone: what it has a copy of.
COPIES = {
    "topics.yaml": ROOT / "libs" / "nerv" / "src" / "nerv" / "topics.yaml",
    "alerts.yml": ROOT / "deploy" / "prometheus" / "alerts.yml",
}


def examples() -> Iterator[Path]:
    """The folders of examples, each with values and what they render to."""
    found = sorted((CHART / "examples").iterdir())
    if not found:
        raise Fault("the chart has no examples")
    yield from found


def check_example(tools: Tools, folder: Path, *, write: bool) -> str:
    """The rendered manifests in git are what the chart renders now."""
    rendered = tools.render((folder / "values.yaml").read_text(encoding="utf-8"))
    kept = folder / "rendered" / "manifests.yaml"
    if write:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(rendered, encoding="utf-8")
    elif not kept.exists() or kept.read_text(encoding="utf-8") != rendered:
        raise Fault(f"{kept.relative_to(ROOT)} is not what the chart renders: deploy/check.sh --write, and look at it")
    return rendered


def check_rendered(tools: Tools, rendered: str) -> None:
    """What is rendered holds to its schemas and to every rule."""
    tools.conform(rendered)
    manifests = documents(rendered)
    for rule in (*RULES, policies):
        rule(manifests)


def check_copies(*, write: bool) -> None:
    """The chart's copies are what they are copies of."""
    for name, original in COPIES.items():
        copy = CHART / "files" / name
        if write:
            copy.write_bytes(original.read_bytes())
        elif not copy.exists() or copy.read_bytes() != original.read_bytes():
            raise Fault(f"{copy.relative_to(ROOT)} differs from {original.relative_to(ROOT)}: deploy/check.sh --write")


def check_compose(tools: Tools) -> None:
    """Compose's parser takes the file with each of its layers, and the whole mesh is in it."""
    wanted = SERVICES | {"kafka", "redis", "topics", "front"}
    if (found := tools.compose("docker-compose.yml")) != wanted:
        raise Fault(f"docker-compose.yml holds {sorted(found)}: {sorted(wanted)} are wanted")
    for layer in sorted((ROOT / "deploy" / "compose").glob("*.yml")):
        tools.compose("docker-compose.yml", str(layer))


def check_users(tools: Tools) -> None:
    """What `nerv acls kafka --strimzi` prints are KafkaUsers as Strimzi takes them."""
    users = strimzi_users(kafka_rights(names_of("nerv", find_app("flights:app"))), "events")
    tools.conform(yaml.safe_dump_all(users))


def main(folder: str, schemas: str, *options: str) -> int:
    """All checks; the first fault ends them."""
    tools, write = Tools(Path(folder), Path(schemas)), "--write" in options
    try:
        check_copies(write=write)
        tools.lint()
        values.check(write=write)
        count = 0
        for example in examples():
            try:
                check_rendered(tools, check_example(tools, example, write=write))
            except Fault as fault:
                raise Fault(f"example {example.name}: {fault}") from None
            count += 1
        refusals.check(tools)
        check_users(tools)
        check_compose(tools)
    except Fault as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    counts = f"{count} examples, {len(RULES) + 1} rules, {len(refusals.BAD_VALUES)} bad values refused"
    sys.stdout.write(f"chart and compose file are good: {counts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

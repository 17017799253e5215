# SPDX-License-Identifier: Apache-2.0
"""`nerv topics`: what a mesh and an app need of Kafka, before and without any service; and the topics that there are."""

from typing import Annotated, Any

import typer

from nerv.app import App, find_app
from nerv.cli.calling import AsJson, call, console, fail, say_json, usage
from nerv.cli.show import table, tree
from nerv.errors import Invalid, NervError
from nerv.service import ServiceSettings
from nerv.topics import DEFAULT_PARTITIONS, Topic, of_mesh

AppOption = Annotated[
    str | None, typer.Option("--app", envvar="NERV_APP", help="The app, as package.module:attribute.")
]

topics = typer.Typer(no_args_is_help=True, add_completion=False, help="Create, list and describe topics.")


def wanted_topics(settings: ServiceSettings, app: App) -> list[Topic]:
    """Every topic that the mesh and the app need."""
    own = of_mesh(settings.mesh, partitions=settings.partitions, projections=app.projections)
    users = [Topic(t.name, t.partitions, f"events of {app.name}", t.config) for t in app.all_topics().values()]
    return [*own, *users]


@topics.command("create")
def create(
    name: Annotated[
        str | None, typer.Argument(help="A topic of your own, made by the broker; without it those of mesh and app.")
    ] = None,
    app: AppOption = None,
    partitions: Annotated[int, typer.Option(min=1, help="Of the topic that is named.")] = DEFAULT_PARTITIONS,
    replication: Annotated[int, typer.Option(help="Replicas of each; -1 is Kafka's default.")] = -1,
    config: Annotated[
        list[str] | None, typer.Option("--config", help="Of the topic that is named: retention.ms=60000. Repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a topic; or all that are missing, straight at Kafka by NERV_MESH, NERV_KAFKA__* and NERV_PARTITIONS.

    What is there is left as it is; one that is there with other partitions is refused.
    """
    if name is not None:
        _create_one(name, partitions, replication, dict(map(_pair, config or ())), as_json)
        return
    from nerv.kafka.admin import Admin

    try:
        settings = ServiceSettings.load()
        wanted = wanted_topics(settings, find_app(app))
        made = Admin(settings.kafka, "nerv-cli").create(wanted, replication=replication)
    except NervError as error:
        raise fail(error) from None
    if as_json:
        say_json({"created": made, "present": [t.name for t in wanted if t.name not in made]})
    else:
        console().print(f"created {len(made)} topics, {len(wanted) - len(made)} were there", markup=False)


def _create_one(name: str, partitions: int, replication: int, config: dict[str, str], as_json: bool) -> None:
    made = call(lambda client: client.topics.create(name, partitions, replication=replication, config=config))
    if as_json:
        say_json({"created": [name] if made else [], "present": [] if made else [name]})
    else:
        console().print(f"{name} is made" if made else f"{name} was there", markup=False)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise usage(Invalid(f"--config takes name=value, not {text!r}"))
    return name, value


@topics.command("wanted")
def wanted(app: AppOption = None, as_json: AsJson = False) -> None:
    """Every topic that a mesh with this app needs, and whether Kafka has it; straight from Kafka, before any service runs."""
    from nerv.kafka.admin import Admin

    try:
        settings = ServiceSettings.load()
        needed = wanted_topics(settings, find_app(app))
        present = Admin(settings.kafka, "nerv-cli").topics()
    except NervError as error:
        raise fail(error) from None
    rows: list[dict[str, Any]] = [
        {"topic": t.name, "partitions": t.partitions, "there": t.name in present, "holds": t.holds} for t in needed
    ]
    say_json(rows) if as_json else console().print(table(f"topics of mesh {settings.mesh}", rows))


@topics.command("list")
def list_topics(as_json: AsJson = False) -> None:
    """The topics there are, with records, bytes, events a second over the last minute, and how far each group lags behind."""
    found = call(lambda client: client.topics.list(figures=True))
    if as_json:
        say_json(found)
        return
    names = ("name", "partitions", "records", "bytes_about", "per_second", "lag")
    rows = [{name: one[name] for name in names} | {"types": ", ".join(one["types"])} for one in found]
    console().print(table("topics", rows))


@topics.command("describe")
def describe(name: Annotated[str, typer.Argument(help="The topic.")], as_json: AsJson = False) -> None:
    """One topic: its partitions, configuration and size, the events it carries, and how far each group lags behind."""
    found = call(lambda client: client.topics.about(name))
    if as_json:
        say_json(found)
        return
    layout = found.pop("layout")
    console().print(tree(name, found))
    console().print(table("partitions", layout))


@topics.command("carry-on")
def carry_on(
    old: Annotated[str, typer.Argument(help="A consumer group, such as nerv.broker.")],
    new: Annotated[str, typer.Argument(help="The group that is to go on where that one stands: nerv2.broker.")],
    as_json: AsJson = False,
) -> None:
    """Have a group go on where another one stands, straight at Kafka by NERV_KAFKA__*: for a mesh that moves to another name."""
    from nerv.kafka.admin import Admin

    try:
        moved = Admin(ServiceSettings.load().kafka, "nerv-cli").carry_on(old, new)
    except NervError as error:
        raise fail(error) from None
    if as_json:
        say_json(moved)
    else:
        told = ", ".join(f"{count} partitions of {topic}" for topic, count in sorted(moved.items()))
        console().print(f"{new} goes on where {old} stands: {told}", markup=False)

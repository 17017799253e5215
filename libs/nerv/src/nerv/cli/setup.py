# SPDX-License-Identifier: Apache-2.0
"""`nerv topics`: what a mesh and an app need of Kafka, before and without any service."""

from typing import Annotated, Any

import typer

from nerv.app import App, find_app
from nerv.cli.calling import AsJson, console, fail, say_json
from nerv.cli.show import table
from nerv.errors import NervError
from nerv.service import ServiceSettings
from nerv.topics import Topic, of_mesh

AppOption = Annotated[
    str | None, typer.Option("--app", envvar="NERV_APP", help="The app, as package.module:attribute.")
]

topics = typer.Typer(no_args_is_help=True, add_completion=False, help="Create and list the topics of a mesh.")


def wanted_topics(settings: ServiceSettings, app: App) -> list[Topic]:
    """Every topic that the mesh and the app need."""
    own = of_mesh(settings.mesh, partitions=settings.partitions, projections=app.projections)
    users = [Topic(t.name, t.partitions, f"events of {app.name}", t.config) for t in app.all_topics().values()]
    return [*own, *users]


@topics.command("create")
def create(
    app: AppOption = None,
    replication: Annotated[int, typer.Option(help="Replicas of each; -1 is Kafka's default.")] = -1,
    as_json: AsJson = False,
) -> None:
    """Create what is missing, by NERV_MESH, NERV_KAFKA__* and NERV_PARTITIONS. What is there is left as it is."""
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


@topics.command("list")
def list_topics(app: AppOption = None, as_json: AsJson = False) -> None:
    """Every topic that a mesh with this app needs, and whether Kafka has it."""
    from nerv.kafka.admin import Admin

    try:
        settings = ServiceSettings.load()
        wanted = wanted_topics(settings, find_app(app))
        present = Admin(settings.kafka, "nerv-cli").topics()
    except NervError as error:
        raise fail(error) from None
    rows: list[dict[str, Any]] = [
        {"topic": t.name, "partitions": t.partitions, "there": t.name in present, "holds": t.holds} for t in wanted
    ]
    say_json(rows) if as_json else console().print(table(f"topics of mesh {settings.mesh}", rows))

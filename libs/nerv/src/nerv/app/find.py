# SPDX-License-Identifier: Apache-2.0
"""Find the app a service hosts: `NERV_APP=package.module:attribute`, or the entry-point group `nerv.apps`."""

import importlib
from importlib.metadata import EntryPoint, entry_points

from nerv.app.declare import App
from nerv.errors import Misconfigured

GROUP = "nerv.apps"


def find_app(reference: str | None) -> App:
    """The app named by `reference`, or the only installed one. Raises Misconfigured, saying what to set."""
    if reference:
        return _load(reference)
    found = list(entry_points(group=GROUP))
    if len(found) == 1:
        return _load(found[0].value)
    raise Misconfigured(_choice(found))


def _choice(found: list[EntryPoint]) -> str:
    if not found:
        return "no app: set NERV_APP=package.module:attribute, or install a package with an entry point in nerv.apps"
    return f"{len(found)} apps are installed; set NERV_APP to one of {', '.join(sorted(e.value for e in found))}"


def _load(reference: str) -> App:
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise Misconfigured(f"NERV_APP must look like package.module:attribute, not {reference!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise Misconfigured(f"NERV_APP={reference}: there is no module {error.name}") from error
    app = getattr(module, attribute, None)
    if not isinstance(app, App):
        raise Misconfigured(f"NERV_APP={reference}: {attribute} is not a nerv.App")
    app.check()
    return app

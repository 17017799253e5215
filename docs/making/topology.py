# SPDX-License-Identifier: Apache-2.0
"""Where the events of the demo's app go, as a diagram: what `nerv topology --mermaid --declared --app flights:app` prints."""

from flights import app as flights
from nerv.service import ServiceSettings
from nerv.topology import declared, mermaid


def topology() -> str:
    """The diagram as a block of a page."""
    mesh: str = ServiceSettings.model_fields["mesh"].default
    return f"```mermaid\n{mermaid(declared(flights, mesh))}```\n"

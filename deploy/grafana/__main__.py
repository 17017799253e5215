# SPDX-License-Identifier: Apache-2.0
"""`python -m deploy.grafana` writes the dashboards' JSON beside this file, and the table of docs/metrics.md."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.boards import boards
from deploy.grafana.table import PAGE, page

FOLDER = Path(__file__).parent / "dashboards"


def text(board: Dashboard) -> str:
    """A dashboard as Grafana is provisioned with it."""
    return json.dumps(board, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, board in boards().items():
        (FOLDER / f"{name}.json").write_text(text(board), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

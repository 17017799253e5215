# SPDX-License-Identifier: Apache-2.0
"""`python -m nerv_projector`"""

from nerv.service import run
from nerv_projector.app import build
from nerv_projector.settings import ProjectorSettings

if __name__ == "__main__":
    run("projector", ProjectorSettings, build)

# SPDX-License-Identifier: Apache-2.0
"""`python -m nerv_projector`"""

import gc

from nerv.service import run
from nerv_projector.app import build
from nerv_projector.settings import ProjectorSettings

if __name__ == "__main__":
    # A batch is tens of thousands of small objects without cycles; the default (700) spends a third of the time on them.
    gc.set_threshold(300_000, 20, 100)
    run("projector", ProjectorSettings, build)

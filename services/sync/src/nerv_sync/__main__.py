# SPDX-License-Identifier: Apache-2.0
"""`python -m nerv_sync`"""

from nerv.service import run
from nerv_sync.app import build
from nerv_sync.settings import SyncSettings

if __name__ == "__main__":
    run("sync", SyncSettings, build)

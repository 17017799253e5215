# SPDX-License-Identifier: Apache-2.0
"""The command `nerv`. Exit codes: 0 done, 1 refused or not reached (nothing happened), 2 usage, 3 unknown outcome."""

from nerv.cli.main import main

__all__ = ["main"]

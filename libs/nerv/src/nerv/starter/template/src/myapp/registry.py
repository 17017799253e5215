# SPDX-License-Identifier: Apache-2.0
"""The app that everything is declared in."""

import nerv

app = nerv.App("myapp")

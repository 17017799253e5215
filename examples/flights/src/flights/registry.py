# SPDX-License-Identifier: Apache-2.0
"""The app object that everything here is declared on."""

import nerv

app = nerv.App("flights")

# SPDX-License-Identifier: Apache-2.0
"""An app that declares nothing: what is published to its broker is nobody's but the publishers'."""

import nerv

app = nerv.App("bare")

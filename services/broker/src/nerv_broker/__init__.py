# SPDX-License-Identifier: Apache-2.0
"""The event broker adapter: the front door of the mesh."""

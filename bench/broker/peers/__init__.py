# SPDX-License-Identifier: Apache-2.0
"""The peers. Most run in an environment of their own, without the mesh."""

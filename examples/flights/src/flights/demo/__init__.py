# SPDX-License-Identifier: Apache-2.0
"""The main job of the mesh on real flights, from an empty machine to `demo passed`: `python -m flights.demo`."""

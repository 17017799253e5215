# SPDX-License-Identifier: Apache-2.0
"""For tests of the mesh and of apps: ports in memory, contract suites, a pytest plugin with real servers."""

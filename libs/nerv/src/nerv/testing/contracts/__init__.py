# SPDX-License-Identifier: Apache-2.0
"""Contract suites: inherit one, give it your implementation, and every promise of the port is tested."""

# SPDX-License-Identifier: Apache-2.0
"""The chart on a real Kubernetes: installed, scaled, killed, upgraded and rolled back under traffic. `make cluster-test`."""

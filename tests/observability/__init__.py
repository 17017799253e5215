# SPDX-License-Identifier: Apache-2.0
"""Dashboards and alert rules against a real Prometheus that scrapes a real mesh. Run by `make`, not by pytest."""

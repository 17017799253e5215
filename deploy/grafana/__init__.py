# SPDX-License-Identifier: Apache-2.0
"""Grafana's dashboards as code: `make dashboards` writes the JSON that Grafana is provisioned with."""

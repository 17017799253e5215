# SPDX-License-Identifier: Apache-2.0
"""Sync: keeps outside systems and streams equal; every change by its exact version."""

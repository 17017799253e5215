# SPDX-License-Identifier: Apache-2.0
"""Suite *telemetry*: what tracing costs."""

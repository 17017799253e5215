# SPDX-License-Identifier: Apache-2.0
"""Suite *temporal*: history beside an event store on PostgreSQL, bare transactions, and a bare HTTP handler."""

# SPDX-License-Identifier: Apache-2.0
"""Suite *temporal*: the temporal store under faults, and a checker that has first found ten seeded bugs."""

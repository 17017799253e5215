# SPDX-License-Identifier: Apache-2.0
"""Suite *broker*: whatever dies, nothing that was acknowledged is lost."""

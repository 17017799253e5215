# SPDX-License-Identifier: Apache-2.0
"""Groups under faults: members that come and go and fail, brokers that are killed, Redis that is flushed."""

# SPDX-License-Identifier: Apache-2.0
"""A topic's door: what does not fit becomes one dead letter, and repaired one event, whatever is killed."""

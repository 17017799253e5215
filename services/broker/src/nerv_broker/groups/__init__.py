# SPDX-License-Identifier: Apache-2.0
"""Groups: members on any replica share the events of a topic, and answer for each of them."""

from nerv_broker.groups.hosting import Groups

__all__ = ["Groups"]

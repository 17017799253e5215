# SPDX-License-Identifier: Apache-2.0
"""The view port on Redis; its scripts are the `.lua` files here."""

from nerv_projector.views.live_copy import LiveCopy
from nerv_projector.views.redis_views import RedisViews

__all__ = ["LiveCopy", "RedisViews"]

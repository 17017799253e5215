# SPDX-License-Identifier: Apache-2.0
"""The app's reactions: events in, effects out, each once whatever is redelivered."""

from nerv_broker.reactions.runner import Reactions

__all__ = ["Reactions"]

# SPDX-License-Identifier: Apache-2.0
"""The app's middleware at the broker's door, and what it did."""

from nerv_broker.middleware.chains import Chains

__all__ = ["Chains"]

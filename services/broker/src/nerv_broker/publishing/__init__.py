# SPDX-License-Identifier: Apache-2.0
"""Publishing: once, by the owner of each key and its receipts, or plainly at least once."""

from nerv_broker.publishing.owner import PublicationOwner
from nerv_broker.publishing.publisher import Publisher
from nerv_broker.publishing.receipts import Receipts

__all__ = ["PublicationOwner", "Publisher", "Receipts"]

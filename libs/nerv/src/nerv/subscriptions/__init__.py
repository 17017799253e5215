# SPDX-License-Identifier: Apache-2.0
"""What a subscription has decided: how far it has come, which keys are parked, what became of its dead letters."""

from nerv.subscriptions.books import Books
from nerv.subscriptions.facts import CATEGORY, Fact, Kind, stream_of
from nerv.subscriptions.ledger import Ledger, Letter, State, key_text

__all__ = ["CATEGORY", "Books", "Fact", "Kind", "Ledger", "Letter", "State", "key_text", "stream_of"]

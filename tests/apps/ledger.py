# SPDX-License-Identifier: Apache-2.0
"""A small app for tests: accounts that money goes in and out of. Run services with it by `NERV_APP=ledger:app`."""

from typing import TypedDict

import nerv

app = nerv.App("ledger")


@app.event("account.deposited.v1", topic="ledger.account.v1", key="account")
class Deposited(nerv.Event):
    """Money came in."""

    account: str
    amount: int


class Balance(TypedDict):
    """What an account holds, and how many deposits made it."""

    balance: int
    deposits: int


@app.projection("account", on=["account.deposited.v1"], state=Balance)
def account(state: Balance | None, event: Deposited) -> Balance:
    """The balance of an account."""
    before = state or Balance(balance=0, deposits=0)
    return Balance(balance=before["balance"] + event.amount, deposits=before["deposits"] + 1)

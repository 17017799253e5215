# SPDX-License-Identifier: Apache-2.0
"""The ledger app after a change that its history does not bear: an amount is a text now."""

import nerv

app = nerv.App("ledger")


@app.event("account.deposited.v1", topic="renamed-ledger.account.v1", key="account")
class Deposited(nerv.Event):
    """Money came in."""

    account: str
    amount: str

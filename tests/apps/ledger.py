# SPDX-License-Identifier: Apache-2.0
"""A small app for tests: accounts that money goes in and out of. Run services with it by `NERV_APP=ledger:app`.

Topics are Kafka's, and one Kafka serves all tests of a session: LEDGER_TOPICS is a prefix that makes them a test's own.
"""

import os
from dataclasses import dataclass

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.message import Message

import nerv

app = nerv.App("ledger")

PREFIX = os.environ.get("LEDGER_TOPICS", "ledger")


def _deposit() -> type[Message]:
    """What protoc would make of `message Deposit { string account = 1; int64 amount = 2; }` in package ledger.v1."""
    file = descriptor_pb2.FileDescriptorProto(name="ledger/v1/ledger.proto", package="ledger.v1", syntax="proto3")
    message = file.message_type.add(name="Deposit")
    for number, (name, kind) in enumerate([("account", Field.TYPE_STRING), ("amount", Field.TYPE_INT64)], start=1):
        message.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ledger.v1.Deposit"))


Deposit = _deposit()


@app.event("account.deposited.v1", topic=f"{PREFIX}.account.v1", key="account", message=Deposit)
class Deposited(nerv.Event):
    """Money came in."""

    account: str
    amount: int


@app.event("account.noticed.v1", topic=f"{PREFIX}.notice.v1", key="account")
class Noticed(nerv.Event):
    """A deposit that somebody should look at."""

    account: str
    amount: int


app.topic(f"{PREFIX}.claim.v1", invalid="deadletter")


@app.event("account.claimed.v1", topic=f"{PREFIX}.claim.v1", key="account")
class Claimed(nerv.Event):
    """Somebody says that money came in. What is no claim is kept, for people to look at."""

    account: str
    amount: int


@app.on("account.deposited.v1")
def record(event: Deposited) -> list[nerv.effects.MeshEffect]:
    """Into the account's stream; a large one is noticed. Nobody deposits minus 13."""
    if event.amount == -13:
        raise ValueError("minus thirteen")
    effects: list[nerv.effects.MeshEffect] = [nerv.append(f"account-{event.account}", event)]
    if event.amount >= 1000:
        effects.append(nerv.publish(Noticed(account=event.account, amount=event.amount)))
    return effects


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds, and how many deposits made it."""

    balance: int
    deposits: int


@app.projection("account", on=["account.deposited.v1"], state=Balance)
def account(state: Balance | None, event: Deposited) -> Balance:
    """The balance of an account. Minus 7 is not taken."""
    if event.amount == -7:
        raise ValueError("minus seven")
    before = state or Balance(0, 0)
    return Balance(before.balance + event.amount, before.deposits + 1)


@app.perspective("account", "owner")
class ForOwner(nerv.Perspective):
    """What its owner sees of an account."""

    balance: int

    @nerv.perspectives.computed
    def overdrawn(self) -> bool:
        """Whether more went out than came in."""
        return self.balance < 0

# SPDX-License-Identifier: Apache-2.0
"""The rules and the reaction, as given, when, then: nothing is stored, nothing runs."""

import nerv
from myapp import app
from myapp.orders import Cancel, OrderCancelled, OrderPlaced, record
from nerv.testing.deciders import given

TEA = OrderPlaced(order="o1", customer="ann", item="tea", cups=2, cents=700)


def test_an_order_can_be_cancelled() -> None:
    """Given an order, when it is cancelled, then it is."""
    given(app, "order", TEA).when(Cancel("no thirst")).then(OrderCancelled(reason="no thirst"))


def test_cancelling_twice_is_cancelling_once() -> None:
    """Given a cancelled order, nothing more happens to it."""
    given(app, "order", TEA, OrderCancelled(reason="no thirst")).when(Cancel("really")).then()


def test_what_nobody_ordered_cannot_be_cancelled() -> None:
    """Given nothing, it is refused."""
    given(app, "order").when(Cancel("no thirst")).then_refused("no-such-order")


def test_a_large_order_cannot_be_cancelled() -> None:
    """Given an order of eleven cups, it is refused."""
    large = TEA.model_copy(update={"cups": 11})
    given(app, "order", large).when(Cancel("no thirst")).then_refused("too-late")


def test_an_order_that_comes_in_is_recorded() -> None:
    """The reaction answers what is to be done; it does nothing itself."""
    assert record(TEA) == nerv.append("order-o1", TEA)

# SPDX-License-Identifier: Apache-2.0
"""Orders of a tea house. Importing the modules declares what is in them."""

from myapp import orders, turnover, views
from myapp.registry import app

__all__ = ["app", "orders", "turnover", "views"]

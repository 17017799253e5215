# SPDX-License-Identifier: Apache-2.0
"""Documents that are generated from an app's registry."""

from nerv.documents.asyncapi import asyncapi
from nerv.documents.page import page

__all__ = ["asyncapi", "page"]

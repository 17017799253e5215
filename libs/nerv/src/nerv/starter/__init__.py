# SPDX-License-Identifier: Apache-2.0
"""A small app to start from: `nerv new` writes `template/` under another name. The template is an app like any other."""

from nerv.starter.writing import check_name, write_app

__all__ = ["check_name", "write_app"]

# SPDX-License-Identifier: Apache-2.0
"""Tables of PostgreSQL and SQLite as sides, by SQLAlchemy: an extra of the library, `nerv-mesh[sql]`."""

from nerv.sync.sides.sql.source import SqlSource

__all__ = ["SqlSource"]

# SPDX-License-Identifier: Apache-2.0
"""What SQLAlchemy raises, in our words."""

from sqlalchemy import exc

from nerv.errors import Invalid, Misconfigured, NervError, Unavailable

LATER = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError)
REFUSED = (exc.IntegrityError, exc.DataError)


def database_error(name: str, error: exc.SQLAlchemyError) -> NervError:
    """What an error of a statement means: its row was refused, the database is not there now, or it is not as declared."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    detail = f"{name}: {said[0][:300] if said else type(error).__name__}"
    if isinstance(error, REFUSED):
        return Invalid(f"{detail}; the database refused it")
    if isinstance(error, LATER):
        return Unavailable(detail, retry_after=1.0)
    return Misconfigured(f"{detail}; see that the table, its columns and the rights of the user are as the source says")

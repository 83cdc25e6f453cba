"""What goes wrong on the command line: one clear line and an exit code, never a traceback.

Belongs here: the error that commands raise on purpose, and the wording of the known errors of the layers below.
"""

from enum import IntEnum

_DAMAGED = ("database disk image is malformed", "file is not a database")
"""What SQLite says of a file that it cannot make sense of."""


class Exit(IntEnum):
    """The exit codes of `lora-manager`."""

    FAILURE = 1
    USAGE = 2
    SOFTWARE = 70
    TRY_AGAIN = 75
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on. The message says what, where and what to do."""

    def __init__(self, message: str, code: int = Exit.FAILURE) -> None:
        super().__init__(message)
        self.code = code


def _of_database(error: BaseException) -> str:
    first_line = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    if first_line in _DAMAGED:
        return (
            f"the database file is damaged: {first_line}. Stop everything and put a backup in its place: `lora-manager "
            "restore PATH --replace` keeps what is there aside"
        )
    return f"the database does not answer: {first_line}. Check LORA_MANAGER_DATABASE_URL (`lora-manager doctor`)"


def _of_system(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"


def explain(error: Exception) -> tuple[str, int]:
    """The line and the exit code for an exception that reached the top.

    The imports cost nothing where it matters: whoever raised one of these has loaded its module already.
    """
    if isinstance(error, CommandError):
        return str(error), error.code
    if isinstance(error, OSError):
        return _of_system(error), Exit.FAILURE
    from sqlalchemy.exc import ArgumentError, DBAPIError

    from warehouse.backup import BackupError
    from warehouse.generations import PublicationError
    from warehouse.ingest.roots import LibraryError
    from warehouse.locks import LockHeld
    from warehouse.migrations import SchemaError
    from warehouse.transfer import TransferError

    if isinstance(error, LockHeld):
        return str(error), Exit.TRY_AGAIN
    if isinstance(error, LibraryError):
        return str(error), Exit.USAGE
    if isinstance(error, (SchemaError, PublicationError, TransferError, BackupError)):
        return str(error), Exit.FAILURE
    if isinstance(error, DBAPIError):
        return _of_database(error), Exit.FAILURE
    if isinstance(error, ArgumentError):
        # The URL itself may hold a password.
        return "LORA_MANAGER_DATABASE_URL is not a URL such as postgresql://user:password@host/name", Exit.USAGE
    return (
        f"unexpected {type(error).__name__}: {error}. Run again with `lora-manager --debug …` for the details",
        Exit.SOFTWARE,
    )

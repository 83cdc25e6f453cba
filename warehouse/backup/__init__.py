"""Everything that only its users could make again, in one file, and back.

A backup is a tar archive: what it is (`backup.json`), every table in parts, the files of the data folder that nothing
else can make, and at its end a manifest with the digest of all of it, and the digest of the manifest. Belongs here: the
archive (`archive`), which files belong into it (`contents`), making, checking, restoring and keeping backups. Does not:
rows (`warehouse.transfer`).
"""


class BackupError(RuntimeError):
    """A backup could not be made, read or restored. The message says what, where and what to do."""


def reason(error: OSError) -> str:
    """What failed, and with which file where the system says so."""
    what = error.strerror or str(error)
    return what if error.filename is None else f"{what}: {error.filename}"

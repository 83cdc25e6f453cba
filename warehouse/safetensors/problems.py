"""What can be wrong with a weight file: the closed list of reasons, and the errors that carry them.

Belongs here: reasons, what to do about each, and the exceptions. Does not: finding them (`header`, `hashing`).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING

from warehouse.storage import ChangedError, UnreachableError

if TYPE_CHECKING:
    from warehouse.safetensors.header import Header


class HeaderProblem(StrEnum):
    """Why a weight file could not be read, or not in full; stored in the database and shown to people."""

    # the file system
    vanished = "vanished"
    permission = "permission"
    is_directory = "is_directory"
    io_error = "io_error"
    changed_while_read = "changed_while_read"
    unreachable = "unreachable"
    # something else under the name of weights
    empty_file = "empty_file"
    zero_filled = "zero_filled"
    git_lfs_pointer = "git_lfs_pointer"
    html_page = "html_page"
    text_document = "text_document"
    pickle = "pickle"
    zip_archive = "zip_archive"
    gguf = "gguf"
    # the header
    too_short = "too_short"
    header_too_large = "header_too_large"
    truncated_header = "truncated_header"
    not_utf8 = "not_utf8"
    not_json = "not_json"
    deep_nesting = "deep_nesting"
    not_an_object = "not_an_object"
    too_many_entries = "too_many_entries"
    duplicate_key = "duplicate_key"
    bad_metadata = "bad_metadata"
    # the tensors
    bad_entry = "bad_entry"
    bad_dtype = "bad_dtype"
    bad_shape = "bad_shape"
    bad_offsets = "bad_offsets"
    size_mismatch = "size_mismatch"
    overlap = "overlap"
    gap = "gap"
    truncated_data = "truncated_data"
    trailing_data = "trailing_data"


_DOWNLOAD_AGAIN = "Download the file again and compare its SHA-256 with the publisher's."
_SAVE_AGAIN = "Save it again with a current safetensors library, or download it again."
_CONVERT = "Convert it to .safetensors in a sandbox if you trust its source."

ADVICE: dict[HeaderProblem, str] = {
    HeaderProblem.vanished: "Restore the file or run a sync, which marks it as vanished.",
    HeaderProblem.permission: "Give the account that runs the sync read access to the file and its folders.",
    HeaderProblem.is_directory: "Rename the folder: a weight suffix on a folder hides the files in it.",
    HeaderProblem.io_error: "Check the disk or the network mount, then run the sync again.",
    HeaderProblem.changed_while_read: "Wait until the download or copy is finished; the next sync reads it again.",
    HeaderProblem.unreachable: "Nothing is said of the file by that; the next sync asks the store again.",
    HeaderProblem.empty_file: _DOWNLOAD_AGAIN,
    HeaderProblem.zero_filled: "The download reserved the space but never wrote it: resume or repeat the download.",
    HeaderProblem.git_lfs_pointer: "Run `git lfs pull` in the repository to fetch the real file.",
    HeaderProblem.html_page: "The site answered with a page, not the file (sign-in or error): download it again, "
    "signed in or with an API key.",
    HeaderProblem.text_document: "The site answered with a message, not the file: read it, then download again.",
    HeaderProblem.pickle: "Pickles can run code when loaded and are never opened here. " + _CONVERT,
    HeaderProblem.zip_archive: "A PyTorch checkpoint or an archive is never opened here. " + _CONVERT,
    HeaderProblem.gguf: "GGUF is another format: keep the .safetensors original beside it.",
    HeaderProblem.too_short: _DOWNLOAD_AGAIN,
    HeaderProblem.header_too_large: "No real file has such a header. " + _DOWNLOAD_AGAIN,
    HeaderProblem.truncated_header: _DOWNLOAD_AGAIN,
    HeaderProblem.not_utf8: _DOWNLOAD_AGAIN,
    HeaderProblem.not_json: _DOWNLOAD_AGAIN,
    HeaderProblem.deep_nesting: "No writer nests a header: treat the file as hostile and delete it.",
    HeaderProblem.not_an_object: _SAVE_AGAIN,
    HeaderProblem.too_many_entries: "No adapter has so many tensors: treat the file as hostile.",
    HeaderProblem.duplicate_key: _SAVE_AGAIN,
    HeaderProblem.bad_metadata: "Values of __metadata__ must be strings. " + _SAVE_AGAIN,
    HeaderProblem.bad_entry: _SAVE_AGAIN,
    HeaderProblem.bad_dtype: "Save it again with a dtype of the format (for example F16 or BF16).",
    HeaderProblem.bad_shape: _SAVE_AGAIN,
    HeaderProblem.bad_offsets: _SAVE_AGAIN,
    HeaderProblem.size_mismatch: _SAVE_AGAIN,
    HeaderProblem.overlap: _SAVE_AGAIN,
    HeaderProblem.gap: _SAVE_AGAIN,
    HeaderProblem.truncated_data: "The download broke off: resume or repeat it.",
    HeaderProblem.trailing_data: _DOWNLOAD_AGAIN,
}


class WeightFileError(Exception):
    """A weight file that cannot be used as it is.

    `problem` is the reason, `path` the file, `str(error)` says what, where and what to do.
    """

    def __init__(self, problem: HeaderProblem, path: PurePath, what: str) -> None:
        super().__init__(f"{path.name} {what} {ADVICE[problem]}")
        self.problem = problem
        self.path = path
        self.what = what


class HeaderError(WeightFileError):
    """The header is missing, hostile or contradicts the file; `header` is what could be read of it, if anything."""

    def __init__(self, problem: HeaderProblem, path: PurePath, what: str, *, header: Header | None = None) -> None:
        super().__init__(problem, path, what)
        self.header = header


class HashingError(WeightFileError):
    """The file could not be hashed: it changed while it was read, or the disk failed."""


class HashingStoppedError(Exception):
    """The caller asked to stop; nothing is wrong with the file."""


def file_system_problem(error: OSError) -> HeaderProblem:
    """The reason that stands for an operating system error."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return HeaderProblem.vanished
        case PermissionError():
            return HeaderProblem.permission
        case IsADirectoryError():
            return HeaderProblem.is_directory
        case ChangedError():
            return HeaderProblem.changed_while_read
        case UnreachableError():
            return HeaderProblem.unreachable
        case _:
            return HeaderProblem.io_error


def describe_os_error(error: OSError) -> str:
    """One sentence on an operating system error, without the path (the message names the file already)."""
    if isinstance(error, ChangedError):
        return "was replaced while it was read."
    return f"cannot be read ({error.strerror or type(error).__name__})."

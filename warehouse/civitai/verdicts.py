"""The closed vocabulary of reading: shapes, verdicts, and the typed reasons for what could not be taken.

What belongs here: enumerations that other packages compare with and store. What does not: the code that decides.
"""

from enum import StrEnum


class Shape(StrEnum):
    """What kind of document a file turned out to be; told from its keys, never from its name alone."""

    PAGE = "page"
    MODEL = "model"
    SEARCH_HIT = "search_hit"
    VERSION = "version"
    CIVITAI_INFO = "civitai_info"
    A1111 = "a1111"
    LORA_MANAGER = "lora_manager"
    STABILITY_MATRIX = "stability_matrix"
    SWARM = "swarm"
    RGTHREE = "rgthree"
    INVOKEAI = "invokeai"
    HEADER_DUMP = "header_dump"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What became of a document."""

    ACCEPTED = "accepted"
    NOT_FOUND = "not_found"
    LEFT_OUT = "left_out"
    QUARANTINED = "quarantined"


class ReasonCode(StrEnum):
    """Why a document was not accepted."""

    # quarantined: the bytes are no usable document
    EMPTY_FILE = "empty_file"
    TOO_LARGE = "too_large"
    UTF16 = "utf16"
    UTF32 = "utf32"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_A_NUMBER = "not_a_number"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    HTML_PAGE = "html_page"
    GIT_LFS_POINTER = "git_lfs_pointer"
    # not found: the tool asked Civitai, which does not know the file
    ASKED_NOT_FOUND = "asked_not_found"
    # left out: a sound document that describes no LoRA adapter
    NOT_A_LORA = "not_a_lora"
    EMPTY_DOCUMENT = "empty_document"
    EMPTY_PAGE = "empty_page"
    NOT_ADAPTER_METADATA = "not_adapter_metadata"


class ComplaintCode(StrEnum):
    """What was wrong with one field of an accepted document."""

    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    BAD_TIME = "bad_time"
    BAD_HASH = "bad_hash"
    UNKNOWN_VALUE = "unknown_value"
    BAD_CHARACTERS = "bad_characters"
    NESTED_TOO_DEEP = "nested_too_deep"
    LEFT_OUT_ITEM = "left_out_item"
    TYPE_MISSING = "type_missing"
    TOO_MANY = "too_many"


class FileState(StrEnum):
    """Where an adapter's weight file is, as far as one bundle can tell."""

    PRESENT = "present"
    INVALID = "invalid"
    REMOTE = "remote"


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class FindingCode(StrEnum):
    """What is worth knowing about a bundle."""

    AMBIGUOUS_VERSION = "ambiguous_version"
    SIDECARS_DISAGREE = "sidecars_disagree"
    SHA256_MISMATCH = "sha256_mismatch"
    PAYLOAD_HASH_MISMATCH = "payload_hash_mismatch"
    BASE_MODEL_MISMATCH = "base_model_mismatch"
    NO_WEIGHT_FILE_CLAIMED = "no_weight_file_claimed"
    NO_ADAPTER_TENSORS = "no_adapter_tensors"
    NOT_A_LORA = "not_a_lora"
    DOCUMENT_SAYS_NOT_A_LORA = "document_says_not_a_lora"

"""The version of what is installed."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

PACKAGE = "lora-manager-backend"


def version(package: str = PACKAGE) -> str | None:
    """The installed version of a package; None when it is not installed."""
    try:
        return installed(package)
    except PackageNotFoundError:
        return None

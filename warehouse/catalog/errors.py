"""What can be wrong with a change of the catalog. Messages are for clients: what is wrong and what to do."""


class CatalogError(Exception):
    """A change that cannot be made; nothing was written."""


class NoSuchAdapterError(CatalogError):
    """There is no adapter of this id, or no longer."""

    def __init__(self, adapter_id: str) -> None:
        super().__init__(f"there is no adapter {adapter_id}")
        self.adapter_id = adapter_id


class NameTakenError(CatalogError):
    """Another adapter has this name and version."""

    def __init__(self, name: str, version: str | None) -> None:
        stated = f"{name!r} in version {version!r}" if version else f"{name!r} without a version"
        super().__init__(f"there is an adapter {stated} already: choose another name or version")


class FieldError(CatalogError):
    """A value that cannot be taken."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field

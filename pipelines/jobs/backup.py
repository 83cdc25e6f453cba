"""`back_up`: everything that cannot be made again into one file of the folder of backups, and the end of old ones."""

import dagster as dg
from pydantic import Field

from pipelines.resources import Warehouse
from warehouse.backup.making import make_backup
from warehouse.backup.retention import prune_backups
from warehouse.contracts import Job


class BackupConfig(dg.Config):
    """How many backups are kept."""

    keep: int | None = Field(
        default=None, ge=1, description="The newest that are kept. Absent: as LORA_MANAGER_BACKUP_KEEP says."
    )


@dg.op(description="Writes a backup, reads all of it again, and then deletes those that are older than the newest few.")
def write_backup(context: dg.OpExecutionContext, config: BackupConfig, warehouse: dg.ResourceParam[Warehouse]) -> str:
    """Make a backup; returns its path. Old ones stay where none is made."""
    folder = warehouse.settings.backup_dir
    if folder is None:
        raise dg.Failure("LORA_MANAGER_BACKUP_DIR names no folder for backups", allow_retries=False)
    folder.mkdir(parents=True, exist_ok=True)
    made = make_backup(warehouse.database, warehouse.settings, folder, say=context.log.debug)
    deleted = prune_backups(folder, config.keep or warehouse.settings.backup_keep)
    context.add_output_metadata(
        {
            "path": dg.MetadataValue.path(made.path),
            "bytes": made.size,
            "rows": made.rows,
            "files": made.files,
            "deleted": dg.MetadataValue.json([path.name for path in deleted]),
        }
    )
    return str(made.path)


@dg.job(
    name=Job.BACK_UP,
    description="Write everything that cannot be made again into one file in LORA_MANAGER_BACKUP_DIR, read it again, "
    "and delete all but the newest LORA_MANAGER_BACKUP_KEEP backups there.",
)
def back_up() -> None:
    """One backup."""
    write_backup()

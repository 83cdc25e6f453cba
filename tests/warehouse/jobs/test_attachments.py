"""Large parameters are files beside the row, and come back to who does the job."""

from pathlib import Path

import pytest

from tests.warehouse.pictures.test_pictures import age
from warehouse.engine import Database
from warehouse.jobs import JobKind, NewJob, enqueue
from warehouse.jobs.attachments import (
    ATTACHED,
    LARGEST,
    AttachmentLostError,
    attached,
    collect_attachments,
    detached,
)

LARGE = "iVBO" * LARGEST


def test_large_texts_leave_the_row_and_come_back(tmp_path: Path) -> None:
    params = {
        "init_images": [LARGE, "small"],
        "steps": 3,
        "args": {"deep": [{"image": LARGE}]},
        "negative_prompt": LARGE,
    }
    row = detached(params, tmp_path)
    reference = {ATTACHED: row["init_images"][0][ATTACHED], "bytes": len(LARGE)}
    assert row == params | {"init_images": [reference, "small"], "args": {"deep": [{"image": reference}]}}
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    assert attached(row, tmp_path) == params


def test_what_is_gone_is_said(tmp_path: Path) -> None:
    row = detached({"mask": LARGE}, tmp_path / "a")
    with pytest.raises(AttachmentLostError, match="65,536 bytes"):
        attached(row, tmp_path / "b")


def test_what_no_job_refers_to_is_collected_when_it_is_old(database: Database, tmp_path: Path) -> None:
    needed = detached({"mask": LARGE}, tmp_path)
    detached({"mask": LARGE + "no job"}, tmp_path)
    with database.write() as connection:
        enqueue(connection, NewJob(JobKind.GENERATION, "sdnext", "sdnext", "a", needed))
    assert collect_attachments(database, tmp_path) == 0
    age(tmp_path)
    assert collect_attachments(database, tmp_path) == 1
    assert attached(needed, tmp_path) == {"mask": LARGE}

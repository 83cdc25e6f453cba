"""`lora-manager sample`: a library of invented adapters, to look at, to demonstrate, to measure with."""

from pathlib import Path
from typing import Annotated

import typer

from serving.cli.output import bytes_text, note


def make_sample(folder: Path, *, adapters: int, seed: int) -> None:
    """Generate the library and say what it holds.

    Raises:
        CommandError: the folder holds something that is not a sample library of ours.
    """
    from serving.cli.errors import CommandError, Exit
    from warehouse.samples import SampleError, generate_library

    try:
        report = generate_library(folder, adapters=adapters, seed=seed)
    except SampleError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    note(
        f"Sample library in {folder}: {report.adapters:,} adapters in {len(report.formats)} formats, {report.files:,} "
        f"files of {bytes_text(report.bytes)}, {len(report.broken)} of them odd or broken on purpose."
    )


def sample(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new or empty folder.")],
    *,
    adapters: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many adapters to invent.")] = 240,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
) -> None:
    """Generate a sample library. Plausible metadata in several formats, tiny valid weight files, a few broken ones."""
    make_sample(path.expanduser().resolve(), adapters=adapters, seed=seed)

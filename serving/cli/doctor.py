"""`lora-manager doctor`: what is installed, what works, what is missing and how to get it."""

from collections import Counter

import typer

from serving.cli.context import DataOption, JsonOption, settings_of
from serving.cli.errors import Exit
from serving.cli.output import on_terminal, printable, show_json

_MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


def doctor(*, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check the installation. Packages, device, model weights, database, disk, ports; exit code 1 on an error."""
    from dataclasses import asdict

    from serving.cli.diagnosis import State, diagnose

    results = list(diagnose(settings_of(data)))
    counted = Counter(result.state for result in results)
    if as_json:
        show_json({"errors": counted[State.ERROR], "checks": [asdict(result) for result in results]})
    else:
        width = max(len(result.part) for result in results)
        for result in results:
            mark = _MARKS[result.state] if on_terminal() else f"{result.state:<7}"
            remedy = f" -> {result.remedy}" if result.remedy else ""
            print(f"{mark} {result.part:<{width}}  {printable(result.found)}{printable(remedy)}")
        print(f"{counted[State.ERROR]} errors, {counted[State.WARNING]} warnings.")
    if counted[State.ERROR]:
        raise typer.Exit(Exit.FAILURE)

"""`lora-manager similar` and `recommend`: the API's own answers, made in this process without a server."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.context import DataOption, JsonOption, database_of, settings_of
from serving.cli.errors import CommandError, Exit
from serving.cli.input import given_text, piped_text
from serving.cli.output import note, on_terminal, printable, show_json, show_table

if TYPE_CHECKING:
    from pathlib import Path

    from serving.recommending import Answer, Wish
    from warehouse.engine import Database
    from warehouse.queries.adapters import AdapterRow
    from warehouse.vectors import Recommender, SpaceName

LimitOption = Annotated[int, typer.Option(min=1, max=100, help="How many to show.")]
_NAMED = 10
"""Adapters that are listed when a name may mean several."""


def _matching(database: "Database", wanted: str) -> "list[AdapterRow]":
    """The adapters that a text may mean: the one of this id, those of this name, else those whose words match."""
    from warehouse.queries import adapters, evidence
    from warehouse.queries.filters import make_filter
    from warehouse.queries.pages import Sort, SortKey, page

    with database.read() as connection:
        by_id = adapters.get(connection, wanted)
        if by_id is not None:
            return [by_id]
        found = page(connection, make_filter(question=wanted), Sort(SortKey.RELEVANCE), limit=_NAMED).rows
        named = [row for row in found if row.name.casefold() == wanted.casefold()]
        if not named and (exact := evidence.named(connection, wanted)) is not None:
            # A name of signs alone has no words to find it by.
            named = [row for row in [adapters.get(connection, exact)] if row is not None]
    return named or found


def _meant(database: "Database", wanted: str) -> "AdapterRow":
    rows = _matching(database, wanted)
    if not rows:
        raise CommandError(f"no adapter is called {wanted!r} or has these words: `lora-manager sql` lists names")
    if len(rows) > 1:
        note(f"{wanted!r} may mean several; ask again with an id:")
        show_table(("id", "name", "version", "base model"), [(r.id, r.name, r.version, r.base_model) for r in rows])
        raise typer.Exit(Exit.USAGE)
    return rows[0]


def _show(answer: "Answer", *, as_json: bool) -> None:
    if as_json:
        show_json({"recommendations": answer.items, "prompt_analysis": answer.analysis, "index": answer.generation})
        return
    if not answer.items:
        note("Nothing is close enough. Embedded is what the last sync found: `lora-manager status`.")
        return
    columns = {
        "score": [f"{item['final_score']:.3f}" for item in answer.items],
        "name": [item["lora_name"] for item in answer.items],
        "version": [item["version"] for item in answer.items],
        "base model": [item["base_model"] for item in answer.items],
        "why": [item["explanation"] for item in answer.items],
        # A person reads names; 36 characters of id would take the room of the reasons.
        **({} if on_terminal() else {"id": [item["lora_id"] for item in answer.items]}),
    }
    show_table(list(columns), list(zip(*columns.values(), strict=True)))


def _answer(
    data: "Path | None",
    limit: int,
    weights: "Mapping[SpaceName, float]",
    ask: "Callable[[Database, Recommender, Wish], Answer]",
) -> "Answer":
    """The answer, as the API would send it.

    Raises:
        CommandError: a model cannot be used, or the adapter was deleted.
    """
    from dataclasses import replace

    from serving.recommending import TargetGoneError, Wish, signed
    from serving.signing import open_signer
    from warehouse.vectors import EncoderError, Recommender, SearchFilter

    settings = settings_of(data)
    wish = Wish(limit=limit, threshold=0.1, weights=dict(weights), narrowed=SearchFilter())
    with database_of(settings) as database:
        try:
            answer = ask(database, Recommender(database, settings), wish)
        except EncoderError as error:
            raise CommandError(f"{error} (`lora-manager doctor`)") from None
        except TargetGoneError:
            raise CommandError("the adapter was deleted a moment ago") from None
    return replace(answer, items=signed(answer.items, open_signer(settings)))


def similar(
    adapter: Annotated[str, typer.Argument(metavar="NAME|ID", help="An adapter's name, words of it, or its id.")],
    *,
    data: DataOption = None,
    limit: LimitOption = 10,
    as_json: JsonOption = False,
) -> None:
    """List what resembles an adapter. With every score's reason."""
    from warehouse.vectors import default_weights

    wanted = given_text(adapter)
    if not wanted.strip():
        raise CommandError("the name is empty: give an adapter's name, words of it, or its id", Exit.USAGE)

    def ask(database: "Database", recommender: "Recommender", wish: "Wish") -> "Answer":
        from serving import learning, recommending
        from warehouse.queries import adapters

        meant = _meant(database, wanted)
        with database.read() as connection:
            pk = adapters.pk_of(connection, meant.id)
            if pk is None:
                raise CommandError(f"{meant.name!r} was deleted a moment ago")
            learned = learning.about(connection, settings_of(data), adapter_pk=pk)
        note(f"Similar to {printable(meant.name)}{f' ({printable(meant.version)})' if meant.version else ''}:")
        return recommending.similar(database, recommender, pk, wish, learned)

    _show(_answer(data, limit, default_weights(), ask), as_json=as_json)


def recommend(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the picture shall show; - reads stdin.")],
    *,
    data: DataOption = None,
    limit: LimitOption = 10,
    as_json: JsonOption = False,
) -> None:
    """List what fits a prompt. By meaning, and by the trigger words, tags and names in it."""
    from warehouse.vectors import prompt_weights

    text = piped_text() if prompt == "-" else given_text(prompt)
    if not text.strip():
        raise CommandError("the prompt is empty: say what the picture shall show", Exit.USAGE)

    def ask(database: "Database", recommender: "Recommender", wish: "Wish") -> "Answer":
        from serving import learning, recommending
        from warehouse.lexical.searching import LexicalSearcher

        settings = settings_of(data)
        with database.read() as connection:
            learned = learning.about(connection, settings)
        words = LexicalSearcher(database, settings)
        return recommending.for_prompt(database, recommender, words, text, wish, learned)

    _show(_answer(data, limit, prompt_weights(), ask), as_json=as_json)

"""Recommendations: what is similar to an adapter, what fits a prompt, with every score and the reason.

Belongs here: gathering candidates, looking up evidence, putting an answer together. Does not: similarities
(`warehouse.vectors`), what evidence is worth (`ranking`), taking prompts apart (`prompts`), opening (`recommender`).

Candidates come from the vectors, and for a prompt also from the word index: an author's own trigger word is in no
model's vocabulary, and people write for an adapter what others wrote for it before. Whatever finds a candidate, it is
scored in the same way.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from serving import preferences, ranking, strengths
from serving.encoding import API
from serving.learning import NOTHING, Learned
from serving.preferences import Liked
from serving.signing import Signer
from warehouse import facets, fulltext, prompts
from warehouse.engine import Database
from warehouse.lexical import fusion, tokens
from warehouse.lexical.index import FieldScores
from warehouse.lexical.searching import LexicalSearcher, Words
from warehouse.prompts import Prompt
from warehouse.queries import breakdowns, evidence
from warehouse.queries.evidence import Facts
from warehouse.reranking import reranker
from warehouse.reranking.features import NOTHING_IN_WORDS, Candidate, model_key

if TYPE_CHECKING:
    from warehouse.reranking.reranker import Reranker
    from warehouse.vectors.filters import SearchFilter
    from warehouse.vectors.layout import Asked
    from warehouse.vectors.search import Match, Recommender, SearchResult
    from warehouse.vectors.spaces import SpaceName
    from warehouse.vectors.stored import StoredVector

POOL = 50
"""Candidates that are looked at closely, at least; three for each one asked for where that is more."""
_LOOKED_AT = 20
"""Candidates for a prompt whose boosts are known of, at least."""
RARE = 40
"""A phrase that at most so many adapters have finds candidates; a commoner one speaks for those found otherwise."""
COUNTED = 1_000
"""Occurrences of a phrase are counted up to here; beyond, it is as common as that."""
LOOKED_UP = 64
"""Phrases of a prompt that are looked up in the full text."""
SUMMARY_CHARACTERS = 300
_log = logging.getLogger(__name__)
_BESIDE = ThreadPoolExecutor(max_workers=8, thread_name_prefix="by-words")
"""Searches the words of a prompt while its vectors are searched."""
_PHRASES = 4
"""Phrases that an example prompt shares with the prompt, so many of the rarest are told."""
_SUGGESTIONS = 8
_SUGGESTING = 10
"""So many of the best recommendations are asked for what could be added to the prompt."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants of its recommendations."""

    limit: int
    threshold: float
    weights: "dict[SpaceName, float]"
    narrowed: "SearchFilter"
    diversity: float = 0.0
    fold: bool = False
    explained: bool = True

    @property
    def pool(self) -> int:
        """How many candidates are looked at closely."""
        return max(POOL, 3 * self.limit)

    @property
    def looked_at(self) -> int:
        """How many candidates for a prompt, once put in order, boosts are known of; folding and diversity take more.

        A shorter list shall begin as a longer one.
        """
        return max(_LOOKED_AT, (3 if self.fold or self.diversity else 2) * self.limit)

    def near(self, trees: "Reranker | None") -> int:
        """How many candidates for a prompt are the nearest by their vectors."""
        return max(fusion.NEAR if trees is None else reranker.NEAR, 3 * self.limit // 2)

    def found(self, trees: "Reranker | None") -> int:
        """How many candidates for a prompt are the best by its words."""
        return max(fusion.FOUND if trees is None else reranker.FOUND, 3 * self.limit)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A candidate with all that ranks it."""

    facts: Facts
    match: "Match"
    shared: ranking.Shared
    quality: float
    popularity: float
    together: float
    liked: Liked
    relevance: float | None = None
    """What trees make of similarity and words together (`warehouse.reranking`); None where they were not asked."""

    @property
    def final(self) -> float:
        evidence = (self.match.score, self.shared.worth) if self.relevance is None else (self.relevance,)
        return ranking.final_score(*evidence, self.quality, self.popularity, self.together, self.liked.boost)


@dataclass(frozen=True, slots=True)
class Answer:
    """Recommendations, best first, as the API shows them but for the signatures of URLs, which expire."""

    items: list[dict[str, Any]]
    searched: int
    seconds: float
    generation: str | None
    analysis: dict[str, Any] | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    cached: bool = False
    """Whether it was kept from an earlier question."""
    lasting: bool = True
    """Whether it stays right while nothing changes: not, where the published word index cannot be opened just now."""


class TargetGoneError(LookupError):
    """The adapter that was asked about does not exist, or no longer."""


def signed(items: Sequence[dict[str, Any]], signer: Signer) -> list[dict[str, Any]]:
    """Copies of the items, with the URLs of their previews signed: the items themselves may be kept."""
    return [
        {**item, "preview_url": signer.sign(item["preview_url"])} if item["preview_url"] else item for item in items
    ]


class _Rarities:
    """How telling tags and words are in this library, each looked up once per question."""

    def __init__(self, connection: Connection, words: Words | None = None) -> None:
        self._connection = connection
        self._indexed = words
        self._total = facets.count_of(connection)
        self._tags: dict[str, int] = {}
        self._words: dict[str, int] = {}

    def note_tags(self, folded: Iterable[str]) -> dict[str, int]:
        """Look up many tags at once; the frequencies of those that the library has."""
        found = breakdowns.frequencies(self._connection, list(folded))
        self._tags.update(found)
        return found

    def found_by(self, phrase: str) -> list[int]:
        """The adapters that have a rare phrase in their words; none where it is not rare."""
        pks = evidence.found_by(self._connection, phrase, limit=RARE + 1)
        if len(pks) > RARE:
            return []
        self._words[phrase] = len(pks)
        return pks

    def of_tag(self, folded: str) -> float:
        return ranking.rarity_of(self._tags.get(folded, self._total), self._total)

    def of_word(self, phrase: str) -> float:
        if phrase not in self._words:
            self._words[phrase] = self._count(phrase)
        return ranking.rarity_of(self._words[phrase], self._total)

    def _count(self, phrase: str) -> int:
        # The word index counts a word in no time, and the database a phrase.
        count = None if self._indexed is None or " " in fulltext.segment(phrase) else self._indexed.count_of(phrase)
        return evidence.occurrences(self._connection, phrase, limit=COUNTED + 1) if count is None else count


def similar(
    database: Database, recommender: "Recommender", target_pk: int, wish: Wish, learned: Learned = NOTHING
) -> Answer:
    """What is similar to an adapter, without itself.

    Raises:
        TargetGoneError: it does not exist.
    """
    began = time.perf_counter()
    result = _nearest(database, recommender, target_pk, wish)
    with database.read() as connection:
        rarities = _Rarities(connection)
        facts = evidence.facts_of(connection, [target_pk, *(match.pk for match in result.matches)])
        target = facts.pop(target_pk, None)
        if target is None:
            raise TargetGoneError(f"adapter {target_pk} was deleted")
        rarities.note_tags({fulltext.fold(tag) for tag in target.tags})
        together = dict(learned.together)

        def shared(candidate: Facts) -> ranking.Shared:
            found = ranking.shared_with_adapter(target, candidate, rarities.of_tag, rarities.of_word)
            return replace(found, used_together=together.get(candidate.pk))

        ranked = _rank(connection, result.matches, facts, shared, learned)
        items = _show(connection, _choose(connection, ranked, wish), wish, to_prompt=False)
    return Answer(items, result.searched, time.perf_counter() - began, result.generation)


def _nearest(database: Database, recommender: "Recommender", target_pk: int, wish: Wish) -> "SearchResult":
    from warehouse.vectors.loading import load_known
    from warehouse.vectors.search import NoVectorsError, SearchResult
    from warehouse.vectors.spaces import SPACES

    options: dict[str, Any] = {
        "weights": wish.weights,
        "k": wish.pool,
        "threshold": wish.threshold,
        "narrowed": wish.narrowed,
    }
    try:
        return recommender.similar(target_pk, **options)
    except NoVectorsError:
        # Added a moment ago: the vectors of one adapter are quickly made, and left to the next run to keep.
        with database.read() as connection:
            known = load_known(connection, [target_pk])
        if not known:
            return SearchResult([], 0, True, None)
        texts = {space.name: space.text(known[0].facts) for space in SPACES}
        return recommender.by_vectors(recommender.encode(texts), exclude={target_pk}, **options)


def for_prompt(
    database: Database,
    recommender: "Recommender",
    words: LexicalSearcher,
    text: str,
    wish: Wish,
    learned: Learned = NOTHING,
) -> Answer:
    """What fits a prompt, and what the prompt says."""
    began = time.perf_counter()
    try:
        return _for_prompt(database, recommender, words, text, wish, learned, began)
    except OSError:
        if not words.is_damaged:
            raise
        _log.exception("the word index is damaged; questions are answered without it until the next one is published")
        # It is known by now: nothing asks it again.
        return _for_prompt(database, recommender, words, text, wish, learned, began)


def _for_prompt(
    database: Database,
    recommender: "Recommender",
    words: LexicalSearcher,
    text: str,
    wish: Wish,
    learned: Learned,
    began: float,
) -> Answer:
    prompt = prompts.parse(text)
    trees = recommender.reranker(wish.weights)
    # Two searches that wait for no lock of Python's: each has a core of its own.
    by_words = _BESIDE.submit(_found_by_words, database, words, prompt, wish, trees)
    vectors, result = _fitting(recommender, prompt, wish, wish.near(trees))
    said_by_words = by_words.result()
    with database.read() as connection:
        now = said_by_words.now.over(connection)
        rarities = _Rarities(connection, now)
        phrases = prompts.phrases(prompt)
        known_tags = rarities.note_tags(phrases)
        near = {match.pk for match in result.matches}
        found = set(said_by_words.stored)
        if not now.is_complete:
            found.update(_found_by_rare_phrases(connection, rarities, phrases, wish, near | found))
        matches = result.matches + [
            match
            for match in recommender.score(
                vectors, sorted(found - near), weights=wish.weights, stored=said_by_words.stored
            )
            if match.score >= wish.threshold
        ]
        relevances = _relevances(connection, said_by_words, now, matches, trees)
        if relevances:
            # What boosts can add is bounded: nothing comes from far behind.
            matches = sorted(matches, key=lambda match: -relevances.get(match.pk, 0.0))[: wish.looked_at]
        facts = evidence.facts_of(connection, [match.pk for match in matches])
        said = ranking.Words(prompt.text)

        def shared(candidate: Facts) -> ranking.Shared:
            known = ranking.shared_with_prompt(said, candidate, rarities.of_tag, rarities.of_word)
            # In a small library no word is rare enough to be evidence, and a trigger word is some all the same.
            return replace(known, worth=max(known.worth, fusion.evidence(said_by_words.scores.get(candidate.pk, 0.0))))

        chosen = _choose(connection, _rank(connection, matches, facts, shared, learned, relevances), wish)
        chosen = _with_phrases(now, prompt, chosen)
        items = _show(connection, chosen, wish, to_prompt=True)
        named = _tags_of(connection, prompt)
        for item in items:
            item["in_prompt"] = any(item["lora_id"] == tag["lora_id"] for tag in named)
        analysis: dict[str, Any] = {
            "text": prompt.text,
            "negative": prompt.negative,
            "lora_tags": named,
            "concepts": _concepts(known_tags, chosen),
            "suggested_additions": _suggestions(said, [group[0] for group in chosen[:_SUGGESTING]], rarities),
        }
        strengths.lay_over(connection, [*analysis["lora_tags"], *analysis["suggested_additions"]])
    seconds = time.perf_counter() - began
    return Answer(items, result.searched, seconds, result.generation, analysis, lasting=now.is_current)


def _fitting(recommender: "Recommender", prompt: Prompt, wish: Wish, k: int) -> "tuple[Asked, SearchResult]":
    """The vectors of a prompt and what is near them; a prompt that says nothing is near nothing."""
    from warehouse.vectors.search import SearchResult
    from warehouse.vectors.texts import prompt_text

    asked = prompt_text(prompt.text) or _named_in(prompt)
    if not asked:
        return {}, SearchResult([], 0, True, None)
    vectors = recommender.encode(asked)
    found = recommender.by_vectors(vectors, weights=wish.weights, k=k, threshold=wish.threshold, narrowed=wish.narrowed)
    return vectors, found


@dataclass(frozen=True, slots=True)
class _ByWords:
    """The word index of a moment, what it was asked, the scores that it gives, and the best that it finds by itself.

    `stored` has the vectors of these, read while the prompt was made into one; `by_field` will have what each field by
    itself says of them, where trees want it.
    """

    now: Words
    terms: tokens.Terms
    scores: dict[int, float]
    stored: "dict[int, list[StoredVector]]"
    by_field: Future[dict[int, FieldScores]] | None


def _found_by_words(
    database: Database, words: LexicalSearcher, prompt: Prompt, wish: Wish, trees: "Reranker | None"
) -> _ByWords:
    from warehouse.vectors.stored import by_adapter

    # A prompt of nothing but LoRA tags is about what they name.
    terms = tokens.asked(prompt if prompt.pieces else prompts.parse(_named_in(prompt)))
    found = wish.found(trees)
    with database.read() as connection:
        now = words.now(connection)
        hits = now.search(terms, max(fusion.DEEP, found, 6 * wish.limit), wish.narrowed)
        best = {hit.number: hit.score for hit in hits[:found]}
        # Nobody waits for it yet: what was found is looked up meanwhile.
        by_field = _BESIDE.submit(now.scores_by_field, terms, best) if trees is not None and _is_large(now) else None
        stored = by_adapter(connection, list(best))
    return _ByWords(now, terms, {hit.number: hit.score for hit in hits}, stored, by_field)


def _is_large(words: Words) -> bool:
    return words.tells_all and words.count >= reranker.FEW


def _relevances(
    connection: Connection, said: _ByWords, now: Words, matches: "Sequence[Match]", trees: "Reranker | None"
) -> dict[int, float]:
    """What trees make of the candidates, never less than their similarity; empty where they are not to be asked."""
    if trees is None or said.by_field is None:
        return {}
    origins = evidence.origins(connection, [match.pk for match in matches])
    known = [match for match in matches if match.pk in origins]
    counts = now.prompts_of([match.pk for match in known])
    by_field = said.by_field.result()
    candidates = [
        Candidate(
            similarity=match.score,
            similarities=tuple(float(match.similarities.get(space, 0.0)) for space in _spaces()),
            score=said.scores.get(match.pk, 0.0),
            by_field=by_field.get(match.pk, NOTHING_IN_WORDS),
            prompts=counts.get(match.pk, 0),
            author=origins[match.pk][0],
            model=model_key(match.pk, origins[match.pk][1]),
        )
        for match in known
    ]
    found = trees.relevances(candidates, words=len(said.terms["words"]), adapters=now.count)
    return {match.pk: max(match.score, relevance) for match, relevance in zip(known, found, strict=True)}


def _with_phrases(words: Words, prompt: Prompt, chosen: list[list[_Ranked]]) -> list[list[_Ranked]]:
    """The entries with what their example prompts have of the prompt."""
    written = {tokens.fragment(piece): piece for piece in prompt.written}
    found = words.fragments_of(list(written), [group[0].facts.pk for group in chosen], limit=_PHRASES)
    return [
        [
            replace(
                head, shared=replace(head.shared, example_phrases=[written[each] for each in found[head.facts.pk]])
            ),
            *rest,
        ]
        for head, *rest in chosen
    ]


def _named_in(prompt: Prompt) -> str:
    return ", ".join(dict.fromkeys(tag.name for tag in prompt.tags))


def _found_by_rare_phrases(
    connection: Connection, rarities: _Rarities, phrases: Sequence[str], wish: Wish, known: set[int]
) -> list[int]:
    """Adapters that rare phrases find in the full text, as far as they pass the filter: for where the word index has
    not all of them."""
    hits: dict[int, float] = {}
    for phrase in [phrase for phrase in phrases if len(phrase) > 2 or not phrase.isascii()][:LOOKED_UP]:
        for pk in rarities.found_by(phrase):
            hits[pk] = hits.get(pk, 0.0) + rarities.of_word(phrase)
    new = sorted(hits.keys() - known, key=lambda pk: (-hits[pk], pk))[: wish.pool]
    passing = wish.narrowed.passing(connection, new)
    return [pk for pk in new if pk in passing]


def _rank(
    connection: Connection,
    matches: "Sequence[Match]",
    facts: dict[int, Facts],
    shared: Callable[[Facts], ranking.Shared],
    learned: Learned,
    relevances: Mapping[int, float] = MappingProxyType({}),
) -> list[_Ranked]:
    qualities = evidence.qualities(connection, list(facts))
    ranked = [
        _Ranked(
            facts=known,
            match=match,
            shared=(common := shared(known)),
            quality=ranking.quality_boost(qualities.get(match.pk)),
            popularity=ranking.popularity_boost(known.downloads),
            together=ranking.together_boost(common.used_together),
            liked=preferences.liked(learned.profile, known),
            relevance=relevances.get(match.pk),
        )
        for match in matches
        if (known := facts.get(match.pk)) is not None
    ]
    return sorted(ranked, key=lambda item: (-item.final, item.facts.pk))


# Choosing -----------------------------------------------------------------------------------------------------------


def _choose(connection: Connection, ranked: list[_Ranked], wish: Wish) -> list[list[_Ranked]]:
    """The entries of the answer, each its best candidate followed by those that are folded into it."""
    groups = _folded(connection, ranked) if wish.fold else [[item] for item in ranked]
    if wish.diversity <= 0:
        return groups[: wish.limit]
    heads = [group[0] for group in groups]
    alike = _likeness(connection, [item.facts.pk for item in heads], wish)
    order = ranking.diversified([item.final for item in heads], alike, diversity=wish.diversity, limit=wish.limit)
    # The answer is ordered by final score, whatever chose its entries.
    return [groups[position] for position in sorted(order)]


def _folded(connection: Connection, ranked: Sequence[_Ranked]) -> list[list[_Ranked]]:
    """Versions of one model and duplicates as one group each, in the order of their best."""
    keys: dict[int, list[str]] = {item.facts.pk: [_model_key(item.facts)] for item in ranked}
    for pk, key in evidence.duplicate_groups(connection, list(keys)):
        keys[pk].append(key)
    group_of: dict[str, int] = {}
    groups: list[list[_Ranked]] = []
    for item in ranked:
        mine = keys[item.facts.pk]
        number = next((group_of[key] for key in mine if key in group_of), len(groups))
        if number == len(groups):
            groups.append([])
        groups[number].append(item)
        group_of.update(dict.fromkeys(mine, number))
    return groups


def _model_key(facts: Facts) -> str:
    if facts.civitai_model_id is not None:
        return f"model:{facts.civitai_model_id}"
    return f"name:{fulltext.fold(facts.name)}\x00{facts.author or ''}"


def _likeness(connection: Connection, pks: Sequence[int], wish: Wish) -> Callable[[int, int], float]:
    """How alike two candidates are, by position: their weighted mean cosine over the spaces, 0..1."""
    import numpy as np

    from warehouse.vectors.codec import decode_vectors
    from warehouse.vectors.stored import vectors_of

    total = sum(wish.weights.values())
    position_of = {pk: position for position, pk in enumerate(pks)}
    gram = np.zeros((len(pks), len(pks)), dtype=np.float32)
    stored = vectors_of(connection, pks)
    for kind in {(item.space, item.producer, len(item.data)) for item in stored}:
        mine = [item for item in stored if (item.space, item.producer, len(item.data)) == kind]
        rows = decode_vectors([item.data for item in mine])
        places = np.array([position_of[item.adapter_pk] for item in mine])
        gram[np.ix_(places, places)] += wish.weights.get(kind[0], 0.0) / total * np.maximum(rows @ rows.T, 0)
    return lambda one, other: float(gram[one, other])


# Showing ------------------------------------------------------------------------------------------------------------


def _show(
    connection: Connection, chosen: Sequence[list[_Ranked]], wish: Wish, *, to_prompt: bool
) -> list[dict[str, Any]]:
    summaries = evidence.summaries(connection, [group[0].facts.pk for group in chosen], length=SUMMARY_CHARACTERS + 1)
    items = [
        _item(group[0], group[1:], summaries.get(group[0].facts.pk), explained=wish.explained, to_prompt=to_prompt)
        for group in chosen
    ]
    strengths.lay_over(connection, items)
    return items


def _shortened(text: str | None) -> str | None:
    if text is None or len(text) <= SUMMARY_CHARACTERS:
        return text
    return f"{text[:SUMMARY_CHARACTERS].rstrip()}…"


def _item(
    item: _Ranked, folded: Sequence[_Ranked], summary: str | None, *, explained: bool, to_prompt: bool
) -> dict[str, Any]:
    facts, shared = item.facts, item.shared
    similarities = {space: float(item.match.similarities.get(space, 0.0)) for space in _spaces()}
    explanation = preferences.explained(ranking.explain(similarities, shared, to_prompt=to_prompt), item.liked)
    return {
        "lora_id": facts.id,
        "lora_name": facts.name,
        "lora_description": _shortened(summary),
        "similarity_score": item.match.score,
        "relevance_score": item.relevance,
        "final_score": item.final,
        "explanation": explanation if explained else None,
        **{f"{space}_similarity": score for space, score in similarities.items()},
        "lexical_boost": shared.worth,
        "quality_boost": item.quality,
        "popularity_boost": item.popularity,
        "used_together_boost": item.together,
        "preference_boost": item.liked.boost,
        "shared": {
            "tags": shared.tags,
            "triggers": shared.triggers,
            "name_words": shared.name_words,
            "base_model": shared.base_model,
            "author": shared.author,
            "archetype": shared.archetype,
            "used_together": shared.used_together,
            "example_phrases": shared.example_phrases,
        },
        "version": facts.version,
        "author_username": facts.author,
        "base_model": facts.base_model,
        "archetype": facts.archetype,
        "triggers": facts.triggers,
        "file_state": facts.file_state,
        "preview_url": f"{API}/adapters/{facts.id}/preview" if facts.preview_path else None,
        "folded": [other.facts.id for other in folded],
        "in_prompt": False,
    }


def _spaces() -> "list[SpaceName]":
    from warehouse.vectors.spaces import SPACES

    return [space.name for space in SPACES]


# What a prompt says -------------------------------------------------------------------------------------------------


def _tags_of(connection: Connection, prompt: Prompt) -> list[dict[str, Any]]:
    return [
        {"kind": tag.kind, "name": tag.name, "weight": tag.weight, "lora_id": evidence.named(connection, tag.name)}
        for tag in prompt.tags
    ]


def _concepts(known_tags: dict[str, int], chosen: Sequence[list[_Ranked]]) -> list[dict[str, Any]]:
    """Words of the prompt that are tags of the library, or trigger words of what is recommended; the rarest first."""
    triggers: dict[str, int] = {}
    for group in chosen:
        for trigger in group[0].shared.triggers:
            folded = fulltext.fold(trigger)
            triggers[folded] = triggers.get(folded, 0) + 1
    concepts = [{"concept": tag, "kind": "tag", "count": count} for tag, count in known_tags.items()]
    concepts += [
        {"concept": trigger, "kind": "trigger", "count": count}
        for trigger, count in triggers.items()
        if trigger not in known_tags
    ]
    return sorted(concepts, key=lambda item: (item["count"], item["concept"]))


def _suggestions(words: ranking.Words, best: Sequence[_Ranked], rarities: _Rarities) -> list[dict[str, Any]]:
    """What could be added: trigger words of the best adapters, and the tags that several of them have."""
    suggested: dict[str, dict[str, Any]] = {}
    for item in best:
        text = item.facts.activation_text or next(iter(item.facts.triggers), None)
        if text and not words.have(fulltext.fold(text)):
            suggested.setdefault(
                fulltext.fold(text),
                {"text": text, "reason": f"activates {item.facts.name}", "lora_id": item.facts.id},
            )
    counts: dict[str, int] = {}
    for item in best:
        for tag in {fulltext.fold(tag) for tag in item.facts.tags}:
            counts[tag] = counts.get(tag, 0) + 1
    common = [tag for tag, count in counts.items() if count >= 3 and not words.have(tag) and tag not in suggested]
    rarities.note_tags(common)
    by_tag = sorted(common, key=lambda tag: (-counts[tag] * rarities.of_tag(tag), tag))
    from_tags = [
        {"text": tag, "reason": f"a tag of {counts[tag]} of the {len(best)} best recommendations", "lora_id": None}
        for tag in by_tag
    ]
    half = _SUGGESTIONS // 2
    triggers = list(suggested.values())
    return (triggers[: max(half, _SUGGESTIONS - len(from_tags))] + from_tags)[:_SUGGESTIONS]

"""The aggregates: what dashboards show, computed by DuckDB from the facts of the same generation.

Belongs here: one declaration per aggregate; rows come in the order in which a dashboard lists them, so that the first
n rows of the file are the top n. Does not: anything that only the tables know (`facts`).
A new aggregate is one more entry of `AGGREGATES`.
"""

from typing import Final

from warehouse.marts.declaration import Aggregate, Column, ColumnType

_TEXT, _INTEGER, _REAL = ColumnType.TEXT, ColumnType.INTEGER, ColumnType.REAL
_MOMENT, _DAY = ColumnType.MOMENT, ColumnType.DAY

_ADAPTERS = Column("adapters", _INTEGER, "Number of adapters")

_GROUP_COLUMNS = (
    _ADAPTERS,
    Column("adapters_present", _INTEGER, "Adapters whose weight file is there and sound or not yet inspected"),
    Column("file_bytes", _INTEGER, "Bytes of the weight files that are there"),
    Column("downloads", _INTEGER, "Downloads on Civitai, summed; NULL where none is known"),
    Column("mean_rating", _REAL, "Mean of the ratings of those that were rated, 0..5"),
)

_GROUP_VALUES = """
    count(*) AS adapters,
    count(*) FILTER (file_state = 'present') AS adapters_present,
    coalesce(sum(file_bytes) FILTER (file_state IN ('present', 'invalid')), 0)::BIGINT AS file_bytes,
    sum(downloads)::BIGINT AS downloads,
    avg(rating) AS mean_rating
"""


def _by(column: str, description: str, name: str, words: str) -> Aggregate:
    return Aggregate(
        name=name,
        description=f"Adapters by {words}, the most numerous first.",
        grain=words,
        columns=(Column(column, _TEXT, description), *_GROUP_COLUMNS),
        sql=f"SELECT {column}, {_GROUP_VALUES} FROM adapters GROUP BY {column} "  # noqa: S608 - our own constants
        f"ORDER BY adapters DESC, {column} NULLS LAST",
    )


LIBRARY_SUMMARY: Final = Aggregate(
    name="library_summary",
    description="The library in one row.",
    grain="export (a single row)",
    columns=(
        Column("exported_at", _MOMENT, "The moment that all tables of this generation show (UTC)"),
        _ADAPTERS,
        Column("adapters_present", _INTEGER, "Adapters whose weight file is there and sound or not yet inspected"),
        Column("adapters_invalid", _INTEGER, "Adapters whose weight file is not sound"),
        Column("adapters_missing", _INTEGER, "Adapters whose weight file has vanished"),
        Column("adapters_remote", _INTEGER, "Adapters known from documents alone"),
        Column("adapters_active", _INTEGER, "Adapters that the user has active"),
        Column("adapters_favorite", _INTEGER, "Adapters that the user marked as favourites"),
        Column("adapters_without_preview", _INTEGER, "Adapters without a preview image"),
        Column("adapters_without_triggers", _INTEGER, "Adapters without a trigger word"),
        Column("adapters_without_description", _INTEGER, "Adapters without a description"),
        Column("adapters_embedded", _INTEGER, "Adapters with an up-to-date vector in every space"),
        Column("base_models", _INTEGER, "Number of base models"),
        Column("authors", _INTEGER, "Number of authors"),
        Column("tags", _INTEGER, "Number of tags"),
        Column("files", _INTEGER, "Weight files that are there"),
        Column("file_bytes", _INTEGER, "Bytes of the weight files that are there"),
        Column("files_invalid", _INTEGER, "Weight files that are there and not sound"),
        Column("files_unhashed", _INTEGER, "Weight files that are there and wait for their hashes"),
        Column("documents", _INTEGER, "Documents that are there"),
        Column("documents_quarantined", _INTEGER, "Documents that could not be read"),
        Column("documents_left_out", _INTEGER, "Documents that describe no LoRA adapter"),
        Column("findings", _INTEGER, "Number of findings"),
        Column("wasted_bytes", _INTEGER, "Bytes that a single copy of every duplicated file would free"),
        Column("first_created_at", _MOMENT, "When the library got its first adapter (UTC)"),
        Column("last_created_at", _MOMENT, "When the library got its latest adapter (UTC)"),
    ),
    sql="""
    SELECT getvariable('exported_at') AS exported_at, a.*, f.*, d.*,
        (SELECT count(*) FROM findings) AS findings,
        (SELECT coalesce(sum(wasted_bytes), 0)::BIGINT FROM duplicate_groups WHERE kind = 'same_file') AS wasted_bytes,
        (SELECT min(created_at) FROM adapters) AS first_created_at,
        (SELECT max(created_at) FROM adapters) AS last_created_at
    FROM (
        SELECT count(*) AS adapters,
            count(*) FILTER (file_state = 'present') AS adapters_present,
            count(*) FILTER (file_state = 'invalid') AS adapters_invalid,
            count(*) FILTER (file_state = 'missing') AS adapters_missing,
            count(*) FILTER (file_state = 'remote') AS adapters_remote,
            count(*) FILTER (active) AS adapters_active,
            count(*) FILTER (favorite) AS adapters_favorite,
            count(*) FILTER (NOT has_preview) AS adapters_without_preview,
            count(*) FILTER (len(triggers) = 0) AS adapters_without_triggers,
            count(*) FILTER (NOT has_description) AS adapters_without_description,
            (SELECT count(*) FROM (
                SELECT adapter_id FROM embeddings WHERE is_current GROUP BY adapter_id HAVING count(DISTINCT space) = 3
            )) AS adapters_embedded,
            count(DISTINCT base_model) AS base_models,
            count(DISTINCT author) AS authors,
            (SELECT count(DISTINCT tag) FROM adapter_tags) AS tags
        FROM adapters
    ) a, (
        SELECT count(*) AS files,
            coalesce(sum(f.file_bytes), 0)::BIGINT AS file_bytes,
            count(*) FILTER (NOT i.valid) AS files_invalid,
            count(*) FILTER (NOT f.hashes_current) AS files_unhashed
        FROM files f LEFT JOIN inspections i USING (file_key) WHERE f.state = 'present'
    ) f, (
        SELECT count(*) AS documents,
            count(*) FILTER (verdict = 'quarantined') AS documents_quarantined,
            count(*) FILTER (verdict = 'left_out') AS documents_left_out
        FROM documents WHERE state = 'present'
    ) d
    """,
)

BY_NSFW_LEVEL: Final = Aggregate(
    name="adapters_by_nsfw_level",
    description="Adapters by Civitai's content level, the mildest first.",
    grain="NSFW bit mask",
    columns=(
        Column("nsfw_level", _INTEGER, "Civitai's bit mask of content levels; 0 is not stated"),
        Column("nsfw_rating", _TEXT, "Highest level in the mask; NULL is not stated"),
        *_GROUP_COLUMNS,
    ),
    sql=f"SELECT nsfw_level, nsfw_rating, {_GROUP_VALUES} FROM adapters GROUP BY ALL "  # noqa: S608 - our own constant
    "ORDER BY nsfw_level",
)

BY_TAG: Final = Aggregate(
    name="adapters_by_tag",
    description="The 10,000 most frequent tags.",
    grain="tag",
    columns=(Column("tag", _TEXT, "The tag, folded"), *_GROUP_COLUMNS),
    sql=f"SELECT tag, {_GROUP_VALUES} FROM adapter_tags JOIN adapters USING (adapter_id) "  # noqa: S608
    "GROUP BY tag ORDER BY adapters DESC, tag LIMIT 10_000",
)

TAG_PAIRS: Final = Aggregate(
    name="tag_pairs",
    description="The 1,000 most frequent pairs among the 1,000 most frequent tags.",
    grain="unordered pair of tags",
    columns=(
        Column("tag", _TEXT, "One tag, the one that sorts first"),
        Column("other_tag", _TEXT, "The other tag"),
        Column("adapters", _INTEGER, "Adapters that have both"),
        Column("lift", _REAL, "How much more often they meet than by chance; 1 is chance"),
    ),
    sql="""
    WITH popular AS (
        SELECT tag, count(*) AS uses FROM adapter_tags GROUP BY tag ORDER BY uses DESC, tag LIMIT 1_000
    ), marked AS (
        SELECT adapter_id, tag, uses FROM adapter_tags JOIN popular USING (tag)
    )
    SELECT a.tag, b.tag AS other_tag, count(*) AS adapters,
        count(*) * (SELECT count(*) FROM adapters)::DOUBLE / (any_value(a.uses) * any_value(b.uses)) AS lift
    FROM marked a JOIN marked b ON a.adapter_id = b.adapter_id AND a.tag < b.tag
    GROUP BY a.tag, b.tag ORDER BY adapters DESC, a.tag, b.tag LIMIT 1_000
    """,
)

LIBRARY_GROWTH: Final = Aggregate(
    name="library_growth",
    description="How the library grew, the oldest day first; days without a new adapter have no row.",
    grain="day on which adapters came",
    columns=(
        Column("day", _DAY, "The day (UTC)"),
        Column("adapters_added", _INTEGER, "Adapters that came on the day"),
        Column("adapters_total", _INTEGER, "Adapters at the end of the day, of those that are still there"),
        Column("file_bytes_added", _INTEGER, "Bytes of the weight files of those that came"),
    ),
    sql="""
    SELECT created_at::DATE AS day, count(*) AS adapters_added,
        sum(count(*)) OVER (ORDER BY created_at::DATE)::BIGINT AS adapters_total,
        coalesce(sum(file_bytes), 0)::BIGINT AS file_bytes_added
    FROM adapters GROUP BY created_at::DATE ORDER BY day
    """,
)

LIBRARY_SIZES: Final = Aggregate(
    name="library_sizes",
    description="Weight files that are there by size, in steps of a power of two, the smallest first.",
    grain="size step",
    columns=(
        Column("at_least_bytes", _INTEGER, "Smallest size of the step in bytes"),
        Column("below_bytes", _INTEGER, "Size in bytes at which the next step begins"),
        Column("files", _INTEGER, "Number of files"),
        Column("file_bytes", _INTEGER, "Their bytes"),
    ),
    sql="""
    WITH stepped AS (
        SELECT file_bytes, CASE WHEN file_bytes < 1 THEN -1 ELSE floor(log2(file_bytes))::INTEGER END AS step
        FROM files WHERE state = 'present'
    )
    SELECT CASE WHEN step < 0 THEN 0 ELSE (2 ** step)::BIGINT END AS at_least_bytes,
        CASE WHEN step < 0 THEN 1 ELSE (2 ** (step + 1))::BIGINT END AS below_bytes,
        count(*) AS files, sum(file_bytes)::BIGINT AS file_bytes
    FROM stepped GROUP BY step ORDER BY step
    """,
)

EMBEDDINGS_COVERAGE: Final = Aggregate(
    name="embeddings_coverage",
    description="How much of the library each embedding space covers.",
    grain="embedding space",
    columns=(
        Column("space", _TEXT, "semantic, artistic or technical"),
        _ADAPTERS,
        Column("adapters_current", _INTEGER, "Adapters with an up-to-date vector"),
        Column("adapters_stale", _INTEGER, "Adapters that changed since they were embedded"),
        Column("adapters_without", _INTEGER, "Adapters without a vector"),
        Column("coverage", _REAL, "Share of the adapters with an up-to-date vector, 0..1; NULL in an empty library"),
        Column("model_name", _TEXT, "Model of most of the vectors"),
        Column("mean_quality", _REAL, "Mean quality score of the vectors, 0..1"),
    ),
    sql="""
    SELECT space, library.adapters,
        count(*) FILTER (is_current) AS adapters_current,
        count(*) FILTER (NOT is_current) AS adapters_stale,
        library.adapters - count(adapter_id) AS adapters_without,
        count(*) FILTER (is_current) / nullif(library.adapters, 0)::DOUBLE AS coverage,
        mode(model_name) AS model_name,
        avg(quality_score) AS mean_quality
    FROM (VALUES (1, 'semantic'), (2, 'artistic'), (3, 'technical')) spaces (position, space)
    CROSS JOIN (SELECT count(*) AS adapters FROM adapters) library
    LEFT JOIN embeddings USING (space)
    GROUP BY position, space, library.adapters ORDER BY position
    """,
)

DOCUMENTS_BY_VERDICT: Final = Aggregate(
    name="documents_by_verdict",
    description="Documents that are there by what became of them and why.",
    grain="shape, verdict and reason",
    columns=(
        Column("shape", _TEXT, "What kind of document it turned out to be; NULL until it is read"),
        Column("verdict", _TEXT, "accepted, not_found, left_out or quarantined; NULL until it is read"),
        Column("reason_code", _TEXT, "Typed reason of a verdict other than accepted"),
        Column("documents", _INTEGER, "Number of documents"),
        Column("document_bytes", _INTEGER, "Their bytes"),
        Column("complaints", _INTEGER, "Fields in them that could not be taken as they stand"),
    ),
    sql="""
    SELECT shape, verdict, reason_code, count(*) AS documents, sum(document_bytes)::BIGINT AS document_bytes,
        sum(complaints)::BIGINT AS complaints
    FROM documents WHERE state = 'present' GROUP BY ALL ORDER BY documents DESC, shape, verdict, reason_code
    """,
)

FILES_BY_PROBLEM: Final = Aggregate(
    name="files_by_problem",
    description="Weight files that are not sound by reason, the most frequent first.",
    grain="reason",
    columns=(
        Column("problem", _TEXT, "Typed reason"),
        Column("files", _INTEGER, "Number of files"),
        Column("file_bytes", _INTEGER, "Their bytes"),
        Column("example_path", _TEXT, "One of them, the path that sorts first"),
    ),
    sql="""
    SELECT i.problem, count(*) AS files, sum(f.file_bytes)::BIGINT AS file_bytes, min(f.path) AS example_path
    FROM inspections i JOIN files f USING (file_key)
    WHERE i.problem IS NOT NULL AND f.state = 'present' GROUP BY i.problem ORDER BY files DESC, i.problem
    """,
)

DUPLICATE_GROUPS: Final = Aggregate(
    name="duplicate_groups",
    description="Groups of duplicates, those that waste most first.",
    grain="duplicate group",
    columns=(
        Column("kind", _TEXT, "same_file, same_weights, same_version, name_clash or near"),
        Column("group_key", _TEXT, "What the members share"),
        _ADAPTERS,
        Column("files", _INTEGER, "Number of weight files that are there"),
        Column("wasted_bytes", _INTEGER, "Bytes beyond the largest copy where copies are equal; NULL for other kinds"),
    ),
    sql="""
    WITH members AS (
        SELECT kind, group_key, file_path, max(file_bytes) AS file_bytes, count(*) AS adapters
        FROM duplicates GROUP BY kind, group_key, file_path
    )
    SELECT kind, group_key, sum(adapters)::BIGINT AS adapters, count(file_bytes) AS files,
        CASE WHEN kind IN ('same_file', 'same_weights')
            THEN coalesce(sum(file_bytes) - max(file_bytes), 0)::BIGINT END AS wasted_bytes
    FROM members GROUP BY kind, group_key ORDER BY wasted_bytes DESC NULLS LAST, kind, group_key
    """,
)

COMMUNITY_TRENDS: Final = Aggregate(
    name="community_trends",
    description="What the community did by day, the oldest first: gains against each adapter's snapshot before.",
    grain="day with snapshots",
    columns=(
        Column("day", _DAY, "Day of the snapshots (UTC)"),
        Column("adapters_changed", _INTEGER, "Adapters whose numbers had changed"),
        Column("downloads_gained", _INTEGER, "Downloads since the snapshots before; first snapshots gain nothing"),
        Column("likes_gained", _INTEGER, "Thumbs up since the snapshots before"),
        Column("comments_gained", _INTEGER, "Comments since the snapshots before"),
    ),
    sql="""
    WITH changes AS (
        SELECT day,
            downloads - lag(downloads) OVER history AS downloads,
            likes - lag(likes) OVER history AS likes,
            comments - lag(comments) OVER history AS comments
        FROM community_statistics WINDOW history AS (PARTITION BY adapter_id ORDER BY day)
    )
    SELECT day, count(*) AS adapters_changed, coalesce(sum(downloads), 0)::BIGINT AS downloads_gained,
        coalesce(sum(likes), 0)::BIGINT AS likes_gained, coalesce(sum(comments), 0)::BIGINT AS comments_gained
    FROM changes GROUP BY day ORDER BY day
    """,
)

COMMUNITY_MOVERS: Final = Aggregate(
    name="community_movers",
    description="The 100 adapters that gained most downloads within each span before the export, the best first.",
    grain="span and adapter",
    columns=(
        Column("time_range", _TEXT, "24h, 7d, 30d, 90d or all, in whole days before the day of the export"),
        Column("adapter_id", _TEXT, "The adapter"),
        Column("name", _TEXT, "Its name"),
        Column("version", _TEXT, "Its version within the name; NULL where there is one without a name"),
        Column("downloads_gained", _INTEGER, "Downloads since the last snapshot before the span, else its first"),
        Column("likes_gained", _INTEGER, "Thumbs up since then; NULL where they are not known"),
    ),
    sql="""
    WITH spans (position, time_range, first_day) AS (
        SELECT position, time_range, getvariable('exported_at')::DATE - days
        FROM (VALUES (1, '24h', 1), (2, '7d', 7), (3, '30d', 30), (4, '90d', 90), (5, 'all', NULL))
            spans (position, time_range, days)
    ), gains AS (
        SELECT position, time_range, adapter_id,
            arg_max(downloads, day)
                - coalesce(arg_max(downloads, day) FILTER (day <= first_day), arg_min(downloads, day)) AS downloads,
            arg_max(likes, day)
                - coalesce(arg_max(likes, day) FILTER (day <= first_day), arg_min(likes, day)) AS likes
        FROM community_statistics CROSS JOIN spans GROUP BY position, time_range, adapter_id
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY position ORDER BY downloads DESC, adapter_id) AS place
        FROM gains WHERE downloads > 0
    )
    SELECT time_range, adapter_id, name, version, ranked.downloads::BIGINT AS downloads_gained,
        ranked.likes::BIGINT AS likes_gained
    FROM ranked JOIN adapters USING (adapter_id) WHERE place <= 100 ORDER BY position, place
    """,
)

AGGREGATES: Final[tuple[Aggregate, ...]] = (
    _by("base_model", "Base model, as Civitai spells it", "adapters_by_base_model", "base model"),
    _by("archetype", "What they are for: character, style, …", "adapters_by_archetype", "archetype"),
    _by("author", "Civitai user", "adapters_by_author", "author"),
    BY_NSFW_LEVEL,
    BY_TAG,
    TAG_PAIRS,
    LIBRARY_GROWTH,
    LIBRARY_SIZES,
    EMBEDDINGS_COVERAGE,
    DOCUMENTS_BY_VERDICT,
    FILES_BY_PROBLEM,
    DUPLICATE_GROUPS,
    COMMUNITY_TRENDS,
    COMMUNITY_MOVERS,
    LIBRARY_SUMMARY,
)

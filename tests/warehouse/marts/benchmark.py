"""How long an export takes and what memory it needs: `python -m tests.warehouse.marts.benchmark 20000 [database URL]`.

The library is synthetic and written straight into the tables: ten tags, three vectors and four days of statistics per
adapter. The export runs in a process of its own, twice; the second links the days that are over.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from tests.warehouse.marts import library
from warehouse import migrations
from warehouse.engine import Database, connect
from warehouse.marts import snapshot_statistics
from warehouse.models import (
    Adapter,
    AdapterTag,
    Bundle,
    CommunityStatistic,
    Document,
    Embedding,
    File,
    Inspection,
    Root,
)

_CHUNK = 2_000
_TAGS = [f"tag {number}" for number in range(3_000)]
_TAG_WEIGHTS = [1 / (number + 1) for number in range(3_000)]
_BASE_MODELS = ["SDXL 1.0", "Pony", "SD 1.5", "Illustrious", "Flux.1 D", None]

_EXPORT = """
import resource, sys, time
from warehouse.engine import connect
from warehouse.marts import export_marts
from warehouse.settings import Settings
database, settings = connect(sys.argv[1]), Settings(_env_file=None, data_dir=sys.argv[2])
for _ in range(2):
    wall, cpu = time.perf_counter(), time.process_time()
    marts = export_marts(database, settings).manifest["marts"].values()
    print(f"{time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} CPU-s,",
          f"{sum(mart['bytes'] for mart in marts) / 1e6:.1f} MB of Parquet,",
          f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
"""


def _adapters(pks: range, chance: random.Random) -> Iterator[dict[str, Any]]:
    for pk in pks:
        yield library.adapter(
            pk,
            name=f"adapter {pk} 画風",
            bundle_pk=pk,
            file_pk=pk,
            description="<p>" + "word " * 200 + "</p>",
            tags=sorted(set(chance.choices(_TAGS, _TAG_WEIGHTS, k=10))),
            trained_words=[f"word {pk}"],
            triggers=[f"word {pk}"],
            author_username=f"作者{chance.randrange(pks.stop // 8 + 1)}",
            base_model=chance.choice(_BASE_MODELS),
            archetype=chance.choice(["style", "character", "concept"]),
            nsfw_level=chance.randrange(32),
            downloads=chance.randrange(100_000),
            likes=chance.randrange(1_000),
            rating=5 * chance.random(),
            stats={"commentCount": chance.randrange(50), "downloadCount": 5, "thumbsUpCount": 4},
            licence={"allow_no_credit": True, "allow_commercial_use": ["Image"], "allow_derivatives": None},
            created_at=library.START + timedelta(days=pk % 300),
        )


def fill(database: Database, adapters: int) -> None:
    """Write a synthetic library."""
    chance = random.Random(1)
    with database.write() as connection:
        connection.execute(insert(Root), [{"pk": 1, "path": "/library", "created_at": library.START}])
    for first in range(1, adapters + 1, _CHUNK):
        pks = range(first, min(first + _CHUNK, adapters + 1))
        rows = list(_adapters(pks, chance))
        tables: list[tuple[Any, list[dict[str, Any]]]] = [
            (
                Bundle,
                [{"pk": pk, "root_pk": 1, "directory": f"/library/{pk % 50}", "stem": str(pk)} for pk in pks],
            ),
            (File, [library.file(pk, chance.randrange(10**6, 3 * 10**8)) for pk in pks]),
            (Inspection, [library.inspection(pk, 1, rank=chance.choice([4, 8, 16, 32])) for pk in pks]),
            (Document, [library.document(pk) for pk in pks]),
            (Adapter, rows),
            (AdapterTag, [{"adapter_pk": row["pk"], "tag": tag} for row in rows for tag in row["tags"]]),
            (
                Embedding,
                [
                    library.embedding(3 * pk + number, pk, space, f"{pk:032x}")
                    for pk in pks
                    for number, space in enumerate(("semantic", "artistic", "technical"))
                ],
            ),
            (
                CommunityStatistic,
                [
                    {"adapter_pk": pk, "day": library.DAY + timedelta(days=day), "downloads": day * pk, "likes": day}
                    for pk in pks
                    for day in (0, 10, 20)
                ],
            ),
        ]
        with database.write() as connection:
            for table, values in tables:
                connection.execute(insert(table), values)
    snapshot_statistics(database, library.DAY + timedelta(days=30))


def main() -> None:
    """Fill a scratch library, export it twice, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapters", type=int)
    parser.add_argument("url", nargs="?", help="SQLAlchemy URL of an empty database; a scratch SQLite file without")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{Path(folder) / 'warehouse.sqlite3'}"
        database = connect(url)
        migrations.upgrade(database)
        fill(database, options.adapters)
        database.dispose()
        subprocess.run([sys.executable, "-c", _EXPORT, url, str(Path(folder) / "data")], check=True)


if __name__ == "__main__":
    main()

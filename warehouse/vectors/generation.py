"""A published index as it is read: opened, kept open, asked.

Does not belong here: building (`indices`) and everything about adapters (`search`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.generations import DamagedError, Published, require_whole
from warehouse.vectors.indices import INDEX_FILE, NUMBERS_FILE
from warehouse.vectors.layout import Layout
from warehouse.vectors.recall import search_parameters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class OpenIndex:
    """An open generation. `last_embedding` is the highest number of a vector when it was built;
    `numbers` are the adapters in it, ascending.
    """

    pk: int
    name: str
    layout: Layout
    count: int
    last_embedding: int
    nprobe: int
    index: Any
    numbers: NDArray[np.int64]

    def search(
        self, question: NDArray[np.float32], k: int, only: NDArray[np.int64] | None = None
    ) -> list[tuple[int, float]]:
        """At most `k` numbers with their scores, the best first; among `only` where it is given.

        More results probe more lists, and a selection probes all of them.
        """
        import faiss

        if not self.count or (only is not None and not len(only)):
            return []
        # Questions come side by side, each on its own core.
        faiss.omp_set_num_threads(1)
        lists = self.index.nlist if self.nprobe else 0
        selector = faiss.IDSelectorBatch(only) if only is not None else None
        nprobe = lists if only is not None else min(lists, self.nprobe * max(1, k // 512))
        k = min(k, self.count)
        scores, numbers = self.index.search(question[None, :], k, params=search_parameters(nprobe, selector))
        return [
            (number, score)
            for number, score in zip(numbers[0].tolist(), scores[0].tolist(), strict=True)
            if number >= 0
        ]


def open_index(published: Published) -> OpenIndex:
    """Open a generation; large ones are mapped, so that processes share their pages.

    Raises:
        DamagedError: its files are not those that were published.
    """
    import faiss
    import numpy as np

    require_whole(published)
    manifest = published.manifest
    nprobe = int(manifest["nprobe"])
    path = str(published.path / INDEX_FILE)
    try:
        index = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC) if nprobe else faiss.read_index(path)
        numbers = np.load(published.path / NUMBERS_FILE, mmap_mode="r")
    except (RuntimeError, ValueError, MemoryError) as error:
        raise DamagedError(published, str(error)) from error
    return OpenIndex(
        pk=published.pk,
        name=published.name,
        layout=Layout.from_manifest(manifest["source"]["layout"]),
        count=int(manifest["n"]),
        last_embedding=int(manifest["source"]["last_embedding"]),
        nprobe=nprobe,
        index=index,
        numbers=numbers,
    )

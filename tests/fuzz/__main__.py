"""Guided search for input that breaks a reader, for as long as somebody likes.

    python -m tests.fuzz TARGET [--seconds 300] [--corpus FOLDER]

Needs `pip install atheris`, which is no part of the development tools: it has builds for some Pythons alone. Memory is
bounded (an input that takes more is a crash), an input that takes ten seconds is a hang. What breaks is written beside
the corpus as `crash-…` and printed.
"""

import argparse
import resource
import sys
import tempfile
from pathlib import Path

_MEMORY = 4 * 2**30
"""Bytes of address space, much of which is what libraries map."""
_HANG_SECONDS = 10


def main() -> None:
    """Search."""
    import atheris

    with atheris.instrument_imports(include=["warehouse"]):
        from tests.fuzz.targets import TARGETS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    target = TARGETS[options.target]
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix=f"fuzz-{options.target}-")) / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    limits = (f"-max_total_time={options.seconds}", f"-timeout={_HANG_SECONDS}", "-rss_limit_mb=2048", "-max_len=65536")
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={corpus.parent}/", str(corpus)], target.read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Sample models with their versions, files and example images, before any format is chosen.

Belongs here: plausible figures, dates, hashes and licences. Does not: JSON shapes (`documents`), bytes (`weights`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random

from warehouse.samples import vocabulary as words
from warehouse.samples.subjects import Subject, pick, prompt

# Far above Civitai's ids, so that no invented record can be taken for a real one.
FIRST_ID = 900_000_000
GENERATIONS = (2023, 2025, 2026)
"""Schema generations of the site's documents: each spells licences, ratings and statistics differently."""

_EPOCHS = {
    2023: datetime(2023, 1, 9, tzinfo=UTC),
    2025: datetime(2024, 9, 2, tzinfo=UTC),
    2026: datetime(2025, 8, 4, tzinfo=UTC),
}
_COMMERCIAL = (
    (),
    ("Image",),
    ("Image", "RentCivit"),
    ("Image", "RentCivit", "Rent"),
    ("Image", "RentCivit", "Rent", "Sell"),
)
_BASE_NAMES = [name for name, _ in words.BASE_MODELS]
_BASE_CUMULATED = list(accumulate(share for _, share in words.BASE_MODELS))
_IMAGE_COUNTS_CUMULATED = list(accumulate((1, 7, 10, 11, 13, 11, 13, 8, 8, 5, 13)))
_STRENGTHS = (0.6, 0.7, 0.75, 0.8, 0.9, 1.0)
_SIZES = ((512, 768), (768, 512), (832, 1216), (1024, 1024))


@dataclass(frozen=True, slots=True)
class Hashes:
    """Claims about a file, lower-case hexadecimal."""

    sha256: str
    blake3: str
    crc32: str
    autov1: str
    autov3: str


@dataclass(frozen=True, slots=True)
class WeightClaim:
    """What a document says of a weight file; `size_kb` is in KiB."""

    file_id: int
    name: str
    size_kb: float
    hashes: Hashes


@dataclass(frozen=True, slots=True)
class Image:
    """One example image."""

    image_id: int
    url: str
    width: int
    height: int
    prompt: str | None
    negative: str
    seed: int
    steps: int
    cfg: float
    sampler: str
    checkpoint: str
    lora: str
    weight: float


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model."""

    version_id: int
    name: str
    base_model: str
    trained_words: list[str]
    description: str | None
    created_at: str
    published_at: str
    downloads: int
    likes: int
    file: WeightClaim
    images: list[Image] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Model:
    """One model; `generation` is the year of the schema its documents follow."""

    model_id: int
    subject: Subject
    author: str
    description: str
    commercial_use: tuple[str, ...]
    allow_no_credit: bool
    allow_derivatives: bool
    allow_different_license: bool
    supports_generation: bool
    generation: int
    versions: list[Version]

    def with_file(self, version: Version, file: WeightClaim) -> Model:
        """The same model with another claim about one version's file."""
        versions = [replace(each, file=file) if each is version else each for each in self.versions]
        return replace(self, versions=versions)


class RecordMaker:
    """Makes models one after the other, with ids that grow."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._next_id = FIRST_ID

    def model(self, subject: Subject, *, versions: int | None = None, images: int | None = None) -> Model:
        """A model about `subject`; `images` is the number per version (default: a draw up to ten)."""
        random = self._random
        generation = random.choices(GENERATIONS, (4, 3, 3))[0]
        count = versions or random.choices((1, 2, 3, 4), (79, 14, 5, 2))[0]
        commercial = random.choices(_COMMERCIAL, (2, 3, 4, 1, 4))[0]
        return Model(
            model_id=self._id(),
            subject=subject,
            author=random.choice(words.AUTHORS),
            description=self._description(subject),
            commercial_use=commercial,
            allow_no_credit=random.random() < 0.8,
            allow_derivatives=random.random() < 0.85,
            allow_different_license=random.random() < 0.7,
            supports_generation=random.random() < 0.6,
            generation=generation,
            versions=[self._version(subject, generation, number + 1, images) for number in range(count)][::-1],
        )

    def _id(self) -> int:
        self._next_id += 1 + int(self._random.random() * 40)
        return self._next_id

    def _version(self, subject: Subject, generation: int, number: int, images: int | None) -> Version:
        random = self._random
        base = random.choices(_BASE_NAMES, cum_weights=_BASE_CUMULATED)[0]
        created = _EPOCHS[generation] + timedelta(minutes=random.randint(0, 380_000))
        stem = subject.stem if number == 1 else f"{subject.stem}_v{number}"
        count = images if images is not None else random.choices(range(11), cum_weights=_IMAGE_COUNTS_CUMULATED)[0]
        downloads = int(random.paretovariate(0.9) * 60)
        return Version(
            version_id=self._id(),
            name=random.choice(
                (f"v{number}.0", f"v{number}", f"{base} v{number}", f"{number}.0-{base.split()[0].lower()}")
            ),
            base_model=base,
            trained_words=self._trained_words(subject),
            description=f"<p>{subject.sentences[-1]}</p>" if number > 1 or random.random() < 0.3 else None,
            created_at=_iso(created),
            published_at=_iso(created + timedelta(minutes=random.randint(5, 600))),
            downloads=downloads,
            likes=int(downloads * random.uniform(0.05, 0.3)),
            file=invented_claim(random, self._id(), f"{stem}.safetensors"),
            images=[self._image(subject, base, stem) for _ in range(count)],
        )

    def _trained_words(self, subject: Subject) -> list[str]:
        """Trigger words as authors give them: one each, all in one string, or none."""
        draw = self._random.random()
        if draw < 0.12:
            return []
        return [", ".join(subject.words)] if draw < 0.45 else subject.words[: self._random.randint(1, 3)]

    def _image(self, subject: Subject, base: str, stem: str) -> Image:
        random = self._random
        image_id = self._id()
        width, height = _SIZES[image_id % len(_SIZES)]
        token = random.randbytes(16).hex()
        weight = _STRENGTHS[image_id % len(_STRENGTHS)]
        return Image(
            image_id=image_id,
            url=f"https://images.example.org/{token[:8]}-{token[8:12]}-{token[12:16]}-{token[16:20]}-{token[20:]}/width={width}/{image_id}.jpeg",
            width=width,
            height=height,
            prompt=prompt(random, subject, stem, weight) if random.random() < 0.85 else None,
            negative=pick(random, words.NEGATIVE),
            seed=random.getrandbits(32),
            steps=20 + image_id % 16,
            cfg=3.5 + image_id % 10 / 2,
            sampler=pick(random, words.SAMPLERS),
            checkpoint=pick(random, words.CHECKPOINTS[base]),
            lora=stem,
            weight=weight,
        )

    def _description(self, subject: Subject) -> str:
        random = self._random
        first, *rest = subject.sentences
        parts = [f"<p>{first}</p>", *(f"<p>{sentence}</p>" for sentence in rest)]
        if random.random() < 0.6:
            usage = (
                f"Trigger word: <strong>{subject.trigger}</strong>",
                "Weight 0.6 to 0.9 works best",
                f"Try adding <em>{subject.essence[0]}</em>",
            )
            items = "".join(f"<li><p>{line}</p></li>" for line in usage)
            parts.append(f"<h3>How to use</h3><ul>{items}</ul>")
        if random.random() < 0.3:
            parts.append(
                '<p>More work on <a target="_blank" rel="ugc" href="https://example.org/portfolio">my page</a> 🎨</p>'
            )
        if random.random() < 0.15:
            parts.append(
                f"<p>&quot;{random.choice(subject.theme.native)}&quot;&nbsp;&mdash; &lt;lora:{subject.stem}:0.8&gt;</p>"
            )
        if random.random() < 0.35:
            parts.append(self._history(subject))
        return "".join(parts)

    def _history(self, subject: Subject) -> str:
        """A list of changes: usually short, now and then far too long, as descriptions on the site are."""
        random, theme = self._random, subject.theme
        entries = (
            f"<li><p><strong>v0.{number}</strong>: more pictures of the {pick(random, theme.places)}, less "
            f"{pick(random, theme.materials)}; try it with {pick(random, words.RENDERING)}</p></li>"
            for number in range(min(int(random.paretovariate(0.7)), 400))
        )
        return f"<h3>Changes</h3><ul>{''.join(entries)}</ul>"


def invented_claim(random: Random, file_id: int, name: str) -> WeightClaim:
    """A claim about a file that exists nowhere."""
    digits = random.randbytes(32 + 32 + 4 + 4 + 6).hex()
    hashes = Hashes(digits[:64], digits[64:128], digits[128:136], digits[136:144], digits[144:])
    return WeightClaim(
        file_id, name, round(random.choice((9, 18, 36, 72, 144, 218, 435)) * 1024 + random.random() * 900, 4), hashes
    )


def blur_hash(random: Random) -> str:
    """A text of a blurhash's length and beginning."""
    return "U" + random.randbytes(17).hex()


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.minute * 13 % 1000:03d}Z"

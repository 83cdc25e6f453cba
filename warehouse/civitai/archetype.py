"""What kind of thing an adapter adds, with a calibrated confidence: an explainable sum of evidence, then a softmax.

Every piece of evidence is a word or a form with a weight for one archetype, scaled by where it stands: Civitai's own
category, name, tags, trained words, description. What does not belong here: anything learnt at run time.

Archetypes (closed): `character` (a person or being, celebrities included), `style` (how everything looks), `clothing`
(what is worn), `background` (places, buildings, scenery), `object` (things, weapons, food, icons), `vehicle` (mecha
included), `animal` (creatures included), `pose` (poses, gestures, expressions), `tool` (sliders, detail, light
balance), `concept` (every other idea: body features, effects, situations).
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from math import exp
from typing import Final

from msgspec import Struct


class Archetype(StrEnum):
    """The kinds of thing that an adapter can add."""

    CHARACTER = "character"
    STYLE = "style"
    CLOTHING = "clothing"
    BACKGROUND = "background"
    OBJECT = "object"
    VEHICLE = "vehicle"
    ANIMAL = "animal"
    POSE = "pose"
    TOOL = "tool"
    CONCEPT = "concept"


class Evidence(Struct, frozen=True, kw_only=True):
    """What the classification looks at. `training_tags` are those of the dataset, most frequent first."""

    name: str
    version: str | None = None
    tags: tuple[str, ...] = ()
    trained_words: tuple[str, ...] = ()
    description: str | None = None
    training_tags: tuple[str, ...] = ()


_Scores = dict[Archetype, float]

TEMPERATURE: Final = 1.0
"""Divides the scores before the softmax; fitted on records whose words had no part in the lists below."""

# Where a word stands, and how much it counts there. `_CAP` bounds what one place can add for one archetype.
_NAME, _TAG, _WORD, _TEXT, _TRAINING = 2.2, 1.2, 0.9, 0.5, 0.6
_CAP: Final = 2.0
_TEXT_CHARACTERS: Final = 500
_NAME_CHARACTERS: Final = 200
_WORD_CHARACTERS: Final = 2000

_PRIOR: Final[_Scores] = {
    Archetype.CHARACTER: 0.5,
    Archetype.STYLE: 1.0,
    Archetype.CLOTHING: 0.0,
    Archetype.BACKGROUND: 0.0,
    Archetype.OBJECT: -0.2,
    Archetype.VEHICLE: -0.8,
    Archetype.ANIMAL: -0.6,
    Archetype.POSE: -0.4,
    Archetype.TOOL: -0.8,
    Archetype.CONCEPT: 0.3,
}

# Civitai's own categories, which authors choose from a fixed list; `concept` and `style` are where they put the rest.
_CATEGORIES: Final[dict[str, _Scores]] = {
    "character": {Archetype.CHARACTER: 3.2},
    "celebrity": {Archetype.CHARACTER: 3.2},
    "style": {Archetype.STYLE: 1.8},
    "concept": {Archetype.CONCEPT: 1.4, Archetype.POSE: 0.4},
    "clothing": {Archetype.CLOTHING: 2.6},
    "poses": {Archetype.POSE: 2.4},
    "action": {Archetype.POSE: 2.0},
    "background": {Archetype.BACKGROUND: 2.4},
    "buildings": {Archetype.BACKGROUND: 2.6},
    "objects": {Archetype.OBJECT: 2.4},
    "assets": {Archetype.OBJECT: 1.6},
    "vehicle": {Archetype.VEHICLE: 2.8},
    "animal": {Archetype.ANIMAL: 2.4},
    "tool": {Archetype.TOOL: 3.0},
    "base model": {Archetype.STYLE: 0.5},
}

# Words by how surely they mean the archetype: 1.0 and 0.5. Two words are matched as a pair.
_STRONG: Final[dict[Archetype, str]] = {
    Archetype.CHARACTER: (
        "character/game character/anime character/original character/video game character/oc/vtuber/"
        "protagonist/heroine/princess/waifu/actress/actor/singer/idol/celebrity/personaje/main characters"
    ),
    Archetype.STYLE: (
        "style/artstyle/art style/styles/aesthetic/aesthetics/illustration/watercolor/painting/oil painting/"
        "sketch/lineart/line art/ink/pixel art/pixelart/comic/comics/vector/flat color/cel shading/artist/"
        "artwork/screencap/anime screencap/mix/megamix/style lora/world morph/render/photography/polaroid/"
        "film grain/ukiyo/impressionism/monochrome/blueprint/chibi/animation style/paper cut/drawing/"
        "lora style/semi-realistic/realistic style/made of"
    ),
    Archetype.CLOTHING: (
        "clothing/clothes/outfit/outfits/dress/dresses/skirt/costume/costumes/uniform/armor/suit/jacket/"
        "hoodie/coat/shirt/sweater/pants/jeans/shorts/shoes/boots/heels/sandals/socks/stockings/gloves/hat/"
        "helmet/mask/kimono/hanfu/cheongsam/qipao/yukata/bathrobe/robe/swimsuit/bikini/lingerie/apron/scarf/"
        "cape/fashion/fashion design/gown/wedding dress/footwear/necklace/earrings/jewelry/glasses/leggings/"
        "pantyhose/corset/blouse/vest/bodysuit/headwear/turtleneck/sari/lehenga/wearing a"
    ),
    Archetype.BACKGROUND: (
        "background/backgrounds/scenery/landscape/landscapes/architecture/architectural/building/buildings/"
        "interior/interior design/city/cityscape/street/station/room/bedroom/classroom/school/castle/temple/"
        "house/houses/ruins/forest/garden/beach/mountain/desert/dune/village/environment/skybox/planet/"
        "planets/store/shop/cafe/living room/library/park/bridge/cave/dungeon/sky/sunset/scene/scenes/"
        "location/architecture design/aerial view/convenience store/no humans/indoors/ocean/underwater/"
        "space station/bathroom/kitchen/office/isometric/tower/map/maps/battlemap"
    ),
    Archetype.OBJECT: (
        "object/objects/weapon/weapons/gun/guns/rifle/pistol/handgun/sniper/sword/swords/katana/knife/shield/"
        "food/dish/cake/fruit/drink/bottle/icon/icons/game icon/item/items/prop/props/furniture/chair/sofa/"
        "table lamp/toy/toys/figure/action figure/flag/flags/badge/gem/crystal/book/card/cards/tarot/"
        "machines/instrument/guitar/piano/phone/product/product design/logo/coin/jewel/potion/statue/"
        "sculpture/machine/device/packaging/sticker/lamp/box"
    ),
    Archetype.VEHICLE: (
        "vehicle/vehicles/car/cars/truck/motorcycle/bike/tank/tanks/aircraft/airplane/fighter jet/jet/plane/"
        "helicopter/ship/ships/boat/submarine/spaceship/spaceships/starship/train/locomotive/mecha/mech/"
        "gundam/evangelion mecha/autos/supercar/sports car/bus/battleship/warship/robot mecha"
    ),
    Archetype.ANIMAL: (
        "animal/animals/cat/cats/dog/dogs/horse/bird/birds/fish/dragon/dragons/wolf/fox/tiger/lion/bear/"
        "rabbit/butterfly/insect/spider/snake/dinosaur/creature/creatures/monster/monsters/beast/bestiary/"
        "kaiju/shark/octopus/kitten/puppy/panda/owl/whale/eevee/pets"
    ),
    Archetype.POSE: (
        "pose/poses/posing/gesture/hand gesture/expression/expressions/squatting/kneeling/hugging/"
        "holding hands/peace sign/aiming/lying/jumping/running/dancing/crossed legs/finger gun/finger frame/"
        "pointing/camera angle/from below/from above/looking back/pov/selfie/tug/salute/stretching/leaning/"
        "yawning/crouching/wariza/seiza/hands on/arms up/sitting pose/smile expression/winking/ahegao/smug/"
        "facial expression/crying/tears/teary/angry/laughing/scared/emote"
    ),
    Archetype.TOOL: (
        "slider/sliders/tool/detailer/detail tweaker/add detail/adddetail/detail enhancer/enhancer/tweaker/"
        "noise offset/offset noise/noiseoffset/lcm/turbo/lightning lora/hyper sd/contrast/brightness/low key/"
        "quality/bad hands/better hands/good hands/more details/utility/lowra/fix/lighting control/detail/"
        "acceleration/saturation/exposure"
    ),
    Archetype.CONCEPT: (
        "concept/concepts/hair/ponytail/hairstyle/hair style/haircut/eyes/pupils/eyelashes/makeup/tattoo/"
        "tattoos/wings/tail/ears/horns/blood/fire/flame/flaming/water/splash/explosion/magic/effect/aura/"
        "meme/memes/lamia/centaur/mermaid/dullahan/elf/elves/skin/body/muscular/pregnant/giantess/"
        "transparent/portal/holding/covered in/disembodied/prosthetic/cyborg/symbiote/x-ray/glowing/freckles/"
        "scar/scars/nails/joints/situation/reference sheet"
    ),
}
_WEAK: Final[dict[Archetype, str]] = {
    Archetype.CHARACTER: (
        "genshin impact/honkai star/blue archive/fate grand/final fantasy/league of/azur lane/arknights/"
        "pokemon/anime/girl/girls/woman/female/male/boy/man/1girl/1boy/video game/game/manga/genshin/honkai/"
        "naruto/fate/marvel/dc comics/disney/movie/cosplay/girls frontline/overwatch/persona/touhou/nintendo/"
        "hololive/nijisanji/idolmaster/umamusume/kancolle/fire emblem/resident evil/street fighter/one piece/"
        "dragon ball/avatar/blonde hair/black hair/blue hair/pink hair/purple hair/green hair/red hair/"
        "white hair/brown hair/blue eyes/red eyes/green eyes/yellow eyes/purple eyes/twintails/long hair/"
        "short hair/hair ornament/appearance"
    ),
    Archetype.STYLE: (
        "artist/digital art/concept art/photorealistic/realistic/realism/cartoon/stylized/3d/2d/colorful/"
        "abstract/surreal/dark/fantasy/sci-fi/cyberpunk/steampunk/retro/vintage/cinematic/horror/gothic/"
        "atmosphere/dreamy/detailed/highly detailed/general purpose/minimalist/graphic design/poster/"
        "paintings/portraits/art/theme"
    ),
    Archetype.CLOTHING: ("wearing/worn/ribbon/collar/sleeves/lace/fabric/cloth/accessory/accessories/ornaments"),
    Archetype.BACKGROUND: (
        "outdoors/outdoor/nature/night/clouds/tree/trees/river/lake/snow/skyline/modern/design/aerial"
    ),
    Archetype.OBJECT: ("holding weapon/asset/assets/3d icon/metal/glass/wooden/mechanical/simple background"),
    Archetype.VEHICLE: ("racing/military/engine/wheels/robot/robots/war"),
    Archetype.ANIMAL: ("fantasy creature/cute animal/fur/furry/paws/wild/kemono/design creature"),
    Archetype.POSE: ("sitting/standing/hand/hands/arms/leg/legs/finger/looking at/at viewer/open mouth/view/angle"),
    Archetype.TOOL: ("weight/negative/light/dark theme/lighting/8k/high res/masterpiece"),
    Archetype.CONCEPT: ("inpaint/composition/transformation/conceptual/sci fi/weird/funny/eye/head/face"),
}
_CJK: Final[dict[str, tuple[Archetype, float]]] = {
    "画风": (Archetype.STYLE, 1.0),
    "風格": (Archetype.STYLE, 1.0),
    "风格": (Archetype.STYLE, 1.0),
    "插画": (Archetype.STYLE, 1.0),
    "水墨": (Archetype.STYLE, 1.0),
    "油画": (Archetype.STYLE, 1.0),
    "剪纸": (Archetype.STYLE, 1.0),
    "画風": (Archetype.STYLE, 1.0),
    "角色": (Archetype.CHARACTER, 1.0),
    "人物": (Archetype.CHARACTER, 0.5),
    "原神": (Archetype.CHARACTER, 0.5),
    "キャラ": (Archetype.CHARACTER, 0.5),
    "服": (Archetype.CLOTHING, 0.5),
    "裙": (Archetype.CLOTHING, 1.0),
    "旗袍": (Archetype.CLOTHING, 1.0),
    "汉服": (Archetype.CLOTHING, 1.0),
    "盔甲": (Archetype.CLOTHING, 1.0),
    "衣": (Archetype.CLOTHING, 0.5),
    "背景": (Archetype.BACKGROUND, 1.0),
    "场景": (Archetype.BACKGROUND, 1.0),
    "建筑": (Archetype.BACKGROUND, 1.0),
    "風景": (Archetype.BACKGROUND, 1.0),
    "风景": (Archetype.BACKGROUND, 1.0),
    "室内": (Archetype.BACKGROUND, 0.5),
    "图标": (Archetype.OBJECT, 1.0),
    "武器": (Archetype.OBJECT, 1.0),
    "机甲": (Archetype.VEHICLE, 1.0),
    "ロボット": (Archetype.VEHICLE, 0.5),
    "动物": (Archetype.ANIMAL, 1.0),
    "動物": (Archetype.ANIMAL, 1.0),
    "猫": (Archetype.ANIMAL, 0.5),
    "龙": (Archetype.ANIMAL, 0.5),
    "蝴蝶": (Archetype.ANIMAL, 1.0),
    "姿势": (Archetype.POSE, 1.0),
    "ポーズ": (Archetype.POSE, 1.0),
    "表情": (Archetype.POSE, 1.0),
    "手势": (Archetype.POSE, 1.0),
    "细节": (Archetype.TOOL, 0.5),
    "概念": (Archetype.CONCEPT, 0.5),
}


def _rows() -> dict[str, list[tuple[Archetype, float]]]:
    terms: dict[str, list[tuple[Archetype, float]]] = {term: [entry] for term, entry in _CJK.items()}
    for table, strength in ((_STRONG, 1.0), (_WEAK, 0.5)):
        for archetype, words in table.items():
            for word in words.split("/"):
                terms.setdefault(word, []).append((archetype, strength))
    return terms


# Scores are lists in the order of `Archetype`: an enumeration's members are slow keys.
_ARCHETYPES: Final = tuple(Archetype)
_PLACE: Final = {archetype: place for place, archetype in enumerate(_ARCHETYPES)}
_CHARACTER: Final = _PLACE[Archetype.CHARACTER]
_PRIORS: Final = [_PRIOR[archetype] for archetype in _ARCHETYPES]
_BY_CATEGORY: Final = {
    category: tuple((_PLACE[archetype], weight) for archetype, weight in weights.items())
    for category, weights in _CATEGORIES.items()
}
_LEXICON: Final = {
    term: tuple((_PLACE[archetype], strength) for archetype, strength in entries) for term, entries in _rows().items()
}
_PAIR_STARTS: Final = frozenset(word.split(" ")[0] for word in _LEXICON if " " in word)
_CJK_CHARACTER: Final = re.compile(f"[{''.join(sorted(set(''.join(_CJK))))}]")
"""In whatever holds one of the CJK terms, and far faster to look for; case folding changes none of them."""
_SPACED: Final = bytes(
    code if code > 127 or chr(code).isalnum() or chr(code) == "-" else ord(" ") for code in range(256)
)
"""Translates bytes of UTF-8: what is ASCII and separates words becomes a space."""
_SPACED_WITHOUT_OTHERS: Final = _SPACED[:128] + b" " * 128
_ASCII: Final = bytes(range(128))
_OTHER_SEPARATORS: Final = re.compile(r"[^\w\x00-\x7f]+")
_APART: Final = " 0 "
"""Stands between texts whose words shall make no pair: no listed term has this word."""
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_APPEARANCE: Final = re.compile(
    r"\b(?:(?:black|blonde|brown|red|blue|green|pink|purple|white|silver|grey|orange|yellow|multicolored)"
    r"[ _](?:hair|eyes)"
    r"|(?:long|short|medium|very long)[ _]hair|twintails|hair[ _]ornament|ahoge|sidelocks|bangs)\b"
)
_SERIES_WORD: Final = re.compile(r"\w\s?_?\\?\([^()]{2,40}\\?\)")
_SERIES_MARK: Final = re.compile(r"[|(（\[【-]")
"""This or "from" is in whatever `_NAME_WITH_SERIES` matches, and far faster to look for."""
_SERIES: Final = re.compile(r"(?:[|(（\[【]|\s-\s|\bfrom\b)\s*\w")
"""The end of whatever it matches: looking for that where it is not takes the square of the name's length."""
_NAME_WITH_SERIES: Final = re.compile(r"\w[^|(\[]{1,50}?\s*(?:[|]|\s-\s|[(（\[【]|\bfrom\b)\s*\w")


def classify(evidence: Evidence) -> tuple[str | None, float | None]:
    """The archetype and the probability (0..1) that it is right; (None, None) where nothing at all was found."""
    scores = score(evidence)
    if scores is None:
        return None, None
    top = max(scores)
    total = sum([exp((value - top) / TEMPERATURE) for value in scores])
    return _ARCHETYPES[scores.index(top)].value, round(1.0 / total, 4)


def score(evidence: Evidence) -> list[float] | None:
    """The weighed evidence for every archetype in their order, the prior included; None where none was found."""
    scores = _PRIORS.copy()
    tags = [_weigh_tag(tag) for tag in evidence.tags]
    found = _add_categories(scores, tags)
    name = _split_humps(evidence.name[:_NAME_CHARACTERS])
    name_tokens = _tokens(name.casefold())
    found |= _add(scores, _terms(name, name_tokens), _NAME)
    found |= _add(scores, set().union(*[tag.terms for tag in tags]), _TAG)
    found |= _add(scores, _terms_of_words(evidence.trained_words), _WORD)
    if evidence.description:
        found |= _add(scores, _terms_of_description(evidence.description[:_TEXT_CHARACTERS]), _TEXT)
    if evidence.training_tags:
        found |= _add(scores, _terms_of(evidence.training_tags[:10]), _TRAINING)
    found |= _add_forms(scores, name, name_tokens, evidence.trained_words)
    return scores if found else None


def _split_humps(text: str) -> str:
    """`WinterCoat` and `winter_coat` as two words."""
    return (text if text.islower() else _HUMP.sub(" ", text)).replace("_", " ")


class _Tag(Struct, frozen=True, gc=False):
    """What one tag is evidence of: its category's weights by place, and its terms unless it is a category's name."""

    category: tuple[tuple[int, float], ...]
    terms: frozenset[str]


@lru_cache(maxsize=10_000)
def _weigh_tag(tag: str) -> _Tag:
    # The same few thousand tags stand on nearly every model.
    folded = tag.casefold()
    terms = frozenset[str]() if folded in _BY_CATEGORY else frozenset(_terms_of((tag,)))
    return _Tag(_BY_CATEGORY.get(tag.strip().casefold(), ()), terms)


def _add_categories(scores: list[float], tags: Iterable[_Tag]) -> bool:
    found = False
    for tag in tags:
        for place, weight in tag.category:
            scores[place] += weight
            found = True
    return found


def _add(scores: list[float], terms: Iterable[str], weight: float) -> bool:
    """Add the terms of one place, bounded by `_CAP` for one archetype."""
    sums: dict[int, float] = {}
    for term in terms:
        for place, strength in _LEXICON[term]:
            sums[place] = sums.get(place, 0.0) + strength
    for place, total in sums.items():
        scores[place] += weight * min(total, _CAP)
    return bool(sums)


def _terms_of(texts: Iterable[str]) -> set[str]:
    terms: set[str] = set()
    for text in texts:
        terms |= _terms(text, _tokens(text.casefold()))
    return terms


def _terms_of_words(words: Iterable[str]) -> set[str]:
    """The terms of trained words, each taken by itself."""
    cut = [word[:_WORD_CHARACTERS] for word in words]
    together = _APART.join(cut)
    if together.isascii():
        # One text costs a third of many.
        spaced = _split_humps(together)
        return _terms(spaced, _tokens(spaced.lower()))
    return _terms_of(map(_split_humps, cut))


@lru_cache(maxsize=16)
def _terms_of_description(text: str) -> frozenset[str]:
    # The versions of a model follow each other, and share it.
    return frozenset(_terms(text, _tokens(text.casefold())))


def _terms(text: str, tokens: list[str]) -> set[str]:
    """The listed words, pairs of neighbouring words, and CJK terms in a text of these tokens."""
    terms = _LEXICON.keys() & tokens
    if not _PAIR_STARTS.isdisjoint(tokens):
        terms.update(
            [
                pair
                for first, second in pairwise(tokens)
                if first in _PAIR_STARTS and (pair := f"{first} {second}") in _LEXICON
            ]
        )
    if not text.isascii() and not "".join(tokens).isascii() and _CJK_CHARACTER.search(text):
        folded = text.casefold()
        terms.update([term for term in _CJK if term in folded])
    return terms


def _tokens(folded: str) -> list[str]:
    """The words of a folded text, those with inner hyphens whole."""
    # Bytes are several times faster to search than characters.
    encoded, table = folded.encode("utf-8", "surrogatepass"), _SPACED
    if not folded.isascii():
        others = encoded.translate(None, _ASCII).decode("utf-8", "surrogatepass")
        if any(map(str.isalnum, others)):
            encoded = _OTHER_SEPARATORS.sub(" ", folded).encode("utf-8", "surrogatepass")
        else:
            table = _SPACED_WITHOUT_OTHERS
    text = encoded.translate(table).decode("utf-8", "surrogatepass")
    if "-" in text:
        text = f" {text} ".replace("--", " ").replace(" -", " ").replace("- ", " ")
    return text.split()


def _add_forms(scores: list[float], name: str, name_tokens: list[str], trained_words: tuple[str, ...]) -> bool:
    """Evidence from the form of words: `name \\(series\\)`, appearance tags, `Name (Series)`."""
    found = False
    words = ", ".join(trained_words)[:_WORD_CHARACTERS].casefold()
    if _may_name_appearance(words):
        appearance = len(set(_APPEARANCE.findall(words)))
        if appearance:
            scores[_CHARACTER] += min(appearance, 3) * 0.6
            found = True
    if "(" in words and _SERIES_WORD.search(words):
        scores[_CHARACTER] += 1.2
        found = True
    has_mark = "from" in name or _SERIES_MARK.search(name)
    if has_mark and _SERIES.search(name) and _NAME_WITH_SERIES.search(name):
        scores[_CHARACTER] += 0.6
    named = set(name_tokens)
    # Only where two are anywhere in the words, whole or not, it is worth the cutting.
    if sum([token in words for token in named]) > 1 and len(named.intersection(_tokens(words.replace("_", " ")))) > 1:
        scores[_CHARACTER] += 0.6
    return found


def _may_name_appearance(words: str) -> bool:
    """Whether a word is there without which `_APPEARANCE` matches nothing: far faster to look for."""
    return (
        "hair" in words
        or "eyes" in words
        or "bangs" in words
        or "twintails" in words
        or "ahoge" in words
        or "sidelocks" in words
    )

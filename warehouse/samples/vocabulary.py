"""The words of the sample library: invented places, and what belongs to each.

Belongs here: words. Does not: grammar (`subjects`). A theme gives its adapters a common vocabulary, so that
adapters of one theme resemble each other; everything is invented and fit for any eyes.
"""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Theme:
    """One invented world. `native` are titles in other scripts; `palette` is (sky, ground, light) for previews."""

    slug: str
    title: str
    native: tuple[str, ...]
    places: tuple[str, ...]
    things: tuple[str, ...]
    creatures: tuple[str, ...]
    materials: tuple[str, ...]
    colours: tuple[str, ...]
    moods: tuple[str, ...]
    garments: tuple[str, ...]
    vehicles: tuple[str, ...]
    roles: tuple[str, ...]
    palette: tuple[Colour, Colour, Colour]


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


THEMES: tuple[Theme, ...] = (
    Theme(
        "saltmarsh-harbour",
        "Saltmarsh Harbour",
        ("潮の港", "盐沼港", "소금 항구"),
        _words("foggy pier, lighthouse stairs, fish market, tidal flats, boat shed, sea wall"),
        _words("brass lantern, coiled rope, glass float, sextant, driftwood chest, signal flag"),
        _words("grey seal, herring gull, harbour cat, pelican"),
        _words("oilskin, driftwood, weathered brass, knitted wool"),
        _words("slate blue, sea green, foam white, rust orange"),
        _words("briny, windswept, misty, patient"),
        _words("oilskin coat, fisherman sweater, striped jersey, rain hat, rubber boots"),
        _words("two-masted ketch, tugboat, rowing skiff, paddle ferry"),
        _words("lighthouse keeper, tide reader, net mender, harbour pilot"),
        ((96, 128, 150), (40, 62, 74), (240, 214, 160)),
    ),
    Theme(
        "clockwork-quarter",
        "Clockwork Quarter",
        ("時計仕掛けの街", "齿轮街区"),
        _words("gear tower, steam alley, watchmaker's loft, copper bridge, boiler hall, pendulum square"),
        _words("pocket watch, pressure gauge, wind-up bird, spyglass, tuning fork, brass key"),
        _words("mechanical owl, wind-up fox, copper beetle, brass hound"),
        _words("polished brass, copper pipes, walnut wood, riveted leather"),
        _words("amber, copper red, soot black, ivory"),
        _words("ticking, intricate, smoky, industrious"),
        _words("leather apron, brass goggles, waistcoat, gear corset, top hat"),
        _words("steam tram, ornithopter, clockwork carriage, airship"),
        _words("watchmaker, boiler engineer, gear courier, airship captain"),
        ((170, 120, 70), (60, 42, 34), (255, 214, 130)),
    ),
    Theme(
        "mossveil-forest",
        "Mossveil Forest",
        ("苔の森", "苔纱森林", "이끼 숲"),
        _words("fern hollow, mushroom glade, hollow oak, stone circle, brook crossing, canopy walk"),
        _words("acorn charm, herb satchel, wooden flute, lichen crown, seed lantern, willow basket"),
        _words("white stag, moss fox, barn owl, hedgehog"),
        _words("moss, birch bark, woven willow, spider silk"),
        _words("leaf green, bark brown, fern gold, mushroom cream"),
        _words("dappled, hushed, ancient, verdant"),
        _words("hooded cloak, leaf mantle, linen tunic, laced boots, bark bracers"),
        _words("leaf canoe, hay cart, root sledge, reed raft"),
        _words("herbalist, forest warden, moss druid, owl listener"),
        ((120, 160, 110), (38, 62, 40), (236, 240, 170)),
    ),
    Theme(
        "neon-arcade",
        "Neon Arcade",
        ("ネオン横丁", "霓虹街机", "네온 아케이드"),
        _words("rainy crossing, noodle counter, arcade floor, rooftop billboard, subway stairs, vending alley"),
        _words("holo visor, pixel badge, cassette deck, glow umbrella, data chip, joystick"),
        _words("stray robot cat, neon koi, delivery drone, hologram bird"),
        _words("clear vinyl, carbon fibre, wet asphalt, LED tubing"),
        _words("hot pink, cyan, violet, electric yellow"),
        _words("glowing, restless, rain-soaked, retro"),
        _words("bomber jacket, transparent raincoat, techwear vest, platform sneakers, headphones"),
        _words("hover scooter, neon bike, maglev car, street racer"),
        _words("arcade champion, noodle chef, night courier, signal hacker"),
        ((60, 20, 90), (18, 12, 40), (255, 70, 190)),
    ),
    Theme(
        "amber-dunes",
        "Amber Dunes",
        ("琥珀の砂丘", "琥珀沙丘"),
        _words("dune crest, caravan camp, sunken temple, oasis pool, rock arch, salt flat"),
        _words("water jug, star chart, camel bell, sand glass, woven rug, bronze mirror"),
        _words("desert fox, caravan camel, sand lizard, falcon"),
        _words("sandstone, undyed cotton, hammered bronze, sun-bleached bone"),
        _words("ochre, terracotta, turquoise, saffron"),
        _words("sun-baked, boundless, shimmering, solemn"),
        _words("layered robes, head scarf, sand veil, rope sandals, bronze armlet"),
        _words("sand skiff, dune glider, caravan wagon, sail sled"),
        _words("star navigator, well finder, caravan guide, dune surveyor"),
        ((236, 180, 110), (180, 110, 60), (255, 240, 190)),
    ),
    Theme(
        "aurora-station",
        "Aurora Station",
        ("極光基地", "오로라 기지"),
        _words("ice shelf, observatory dome, snow tunnel, crevasse bridge, weather mast, frozen lake"),
        _words("ice core, radio set, snow globe, thermos flask, weather balloon, compass"),
        _words("arctic hare, sled dog, snowy owl, emperor penguin"),
        _words("quilted nylon, blue ice, brushed aluminium, felted wool"),
        _words("glacier blue, aurora green, signal red, snow white"),
        _words("crisp, silent, luminous, remote"),
        _words("expedition parka, fur-lined hood, snow goggles, thermal mittens, insulated boots"),
        _words("snow crawler, dog sled, ski plane, icebreaker"),
        _words("ice researcher, sled driver, radio operator, aurora photographer"),
        ((30, 60, 110), (200, 220, 235), (120, 240, 190)),
    ),
    Theme(
        "paper-lantern-village",
        "Paper Lantern Village",
        ("提灯の村", "纸灯笼村", "종이 등불 마을"),
        _words("tea house, stone steps, bamboo grove, festival street, shrine gate, koi pond"),
        _words("paper lantern, tea bowl, folding fan, wind chime, ink brush, origami crane"),
        _words("koi carp, tanuki, white crane, sleepy calico"),
        _words("washi paper, bamboo, indigo cotton, lacquered wood"),
        _words("vermilion, indigo, plum, rice white"),
        _words("serene, festive, nostalgic, candlelit"),
        _words("yukata, haori jacket, hakama, straw sandals, silk sash"),
        _words("rickshaw, river barge, festival float, ox cart"),
        _words("tea master, lantern painter, shrine dancer, ink calligrapher"),
        ((70, 50, 90), (40, 28, 40), (255, 150, 80)),
    ),
    Theme(
        "starfreight-line",
        "Starfreight Line",
        ("星間貨物", "星际货运"),
        _words("cargo bay, docking ring, cockpit, hydroponics deck, asteroid yard, observation lounge"),
        _words("mag-lock crate, plasma torch, star map, oxygen flask, repair drone, fusion cell"),
        _words("zero-g cat, void jelly, cargo robot, star whale"),
        _words("painted steel, ceramic tile, mylar foil, safety glass"),
        _words("hazard yellow, hull grey, nebula purple, signal orange"),
        _words("weightless, utilitarian, vast, humming"),
        _words("flight suit, pressure suit, cargo vest, magnetic boots, bubble helmet"),
        _words("bulk freighter, tug shuttle, courier ship, mining pod"),
        _words("freight pilot, drone mechanic, cargo broker, star cartographer"),
        ((20, 20, 50), (60, 60, 80), (250, 200, 90)),
    ),
    Theme(
        "rosewood-court",
        "Rosewood Court",
        ("薔薇の宮廷", "红木宫廷"),
        _words("mirror hall, rose maze, grand staircase, library balcony, winter garden, ballroom"),
        _words("silver candelabra, wax seal, masquerade mask, porcelain cup, harp, jewelled comb"),
        _words("white peacock, lap spaniel, swan, grey mare"),
        _words("rosewood, silk velvet, gold leaf, porcelain"),
        _words("rose pink, burgundy, champagne gold, pearl"),
        _words("elegant, secretive, gilded, romantic"),
        _words("ball gown, brocade coat, lace gloves, ruffled collar, riding habit"),
        _words("gilded carriage, swan boat, horse sleigh, hot air balloon"),
        _words("court duelist, royal librarian, masked musician, rose gardener"),
        ((200, 130, 140), (90, 40, 56), (255, 226, 180)),
    ),
    Theme(
        "coral-deep",
        "Coral Deep",
        ("珊瑚の海底", "珊瑚深海"),
        _words("coral arch, kelp forest, sunken galleon, bubble dome, trench ledge, pearl garden"),
        _words("conch horn, pearl diadem, diving bell, glowing jelly lamp, trident, sea glass"),
        _words("sea turtle, manta ray, lantern fish, seahorse"),
        _words("mother-of-pearl, coral, sea glass, kelp weave"),
        _words("aqua, coral pink, deep teal, pearl white"),
        _words("weightless, shimmering, silent, iridescent"),
        _words("scale bodice, pearl veil, diving suit, shell pauldrons, kelp skirt"),
        _words("glass submarine, manta glider, shell chariot, diving sphere"),
        _words("pearl diver, reef guardian, deep cartographer, kelp farmer"),
        ((40, 130, 150), (16, 50, 80), (255, 170, 160)),
    ),
    Theme(
        "orchard-valley",
        "Orchard Valley",
        ("果樹園の谷", "과수원 골짜기"),
        _words("apple orchard, farmhouse kitchen, hay loft, village green, stone mill, picnic hill"),
        _words("fruit basket, milk churn, quilt, garden trowel, honey jar, straw hat"),
        _words("sheepdog, barn cat, brown hen, shire horse"),
        _words("linen, terracotta, oak, checked cotton"),
        _words("apple red, butter yellow, meadow green, sky blue"),
        _words("cosy, sunlit, homely, gentle"),
        _words("dungarees, gingham dress, knitted cardigan, apron, wellington boots"),
        _words("red tractor, hay wagon, market van, bicycle with basket"),
        _words("beekeeper, baker, orchard hand, village postwoman"),
        ((150, 200, 230), (110, 150, 70), (255, 236, 150)),
    ),
    Theme(
        "stormglass-peaks",
        "Stormglass Peaks",
        ("嵐の峰", "风暴峰"),
        _words("cliff monastery, rope bridge, thunder ledge, prayer stair, eagle roost, cloud terrace"),
        _words("storm bell, prayer wheel, crystal staff, climbing axe, rune tablet, kite"),
        _words("storm eagle, snow leopard, mountain goat, cloud dragon"),
        _words("granite, yak wool, storm crystal, hammered iron"),
        _words("thunder grey, lightning white, indigo, iron blue"),
        _words("dramatic, austere, charged, towering"),
        _words("fur mantle, plate armour, wind scarf, climbing harness, monk robe"),
        _words("kite glider, cliff elevator, storm chariot, mountain railcar"),
        _words("storm knight, bell monk, cliff climber, dragon herald"),
        ((90, 100, 130), (40, 42, 56), (230, 236, 255)),
    ),
)

BASE_MODELS: tuple[tuple[str, int], ...] = (
    ("SD 1.5", 34),
    ("Illustrious", 22),
    ("SDXL 1.0", 14),
    ("Pony", 12),
    ("Flux.1 D", 10),
    ("NoobAI", 5),
    ("SD 2.1", 3),
)
"""Base models and their shares in percent."""

STYLE_MEDIA: tuple[str, ...] = (
    "Gouache", "Ink Wash", "Watercolour", "Linocut", "Pastel", "Pixel Art", "Cel Shading", "Storyboard", "Woodblock",
    "Oil Impasto", "Risograph", "Papercraft", "Claymation", "Stained Glass", "Charcoal", "Picture Book",
)  # fmt: skip

POSES: tuple[str, ...] = (
    "leaning on a railing", "looking over the shoulder", "running toward the viewer", "sitting cross-legged",
    "reaching for the sky", "arms folded", "jumping mid-air", "kneeling with one hand on the ground", "waving goodbye",
    "reading in an armchair", "back to back", "balancing on one foot",
)  # fmt: skip

CONCEPTS: tuple[str, ...] = (
    "Detail Slider", "Double Exposure", "Time of Day", "Tilt Shift", "Floating Islands", "Mirror Reflection",
    "Long Exposure", "Split Seasons", "Cutaway View", "Glowing Outlines", "Tiny World", "Colour Grading",
)  # fmt: skip

FIRST_SYLLABLES: tuple[str, ...] = _words(
    "Mi, Ta, Ro, El, Sa, Ka, Lu, Ni, Or, Ve, Ha, Is, Bra, Fen, Ju, Ca, The, Wi, Yu, Ze"
)
MIDDLE_SYLLABLES: tuple[str, ...] = _words("re, li, na, vo, mi, sa, da, ri, the, ko, wy, lo")
LAST_SYLLABLES: tuple[str, ...] = _words("lle, n, ra, s, th, ya, do, ko, na, rin, vel, mir")
SURNAMES: tuple[str, ...] = (
    "Tovane", "Ashdown", "Quill", "Marrow", "Hollis", "Vantree", "Okori", "Lindqvale", "Brightwater", "Penhallow",
    "Sorrel", "Castellane", "Wren", "Ibarro", "Tamsin", "Duskmere", "Fairlight", "Osei-Vale", "Hakumori", "Rowanoak",
)  # fmt: skip

AUTHORS: tuple[str, ...] = (
    "inkfern", "TidalPixel", "m0ss_mage", "lanternfolk", "BrassOwl", "nova_stitch", "quietorchard", "KoiAndThunder",
    "paperhull", "星屑工房", "duneglass", "velvetgear", "RiverOfCels", "hoarfrost_lab", "pelican88", "mapmaker_jun",
    "sumi-e-studio", "clay.and.co", "arcadeMonk", "sol_weaver",
)  # fmt: skip

CHECKPOINTS: dict[str, tuple[str, ...]] = {
    "SD 1.5": ("meadowMix_v4", "inkAndBrush_v2"),
    "SD 2.1": ("v2-1_512-ema-pruned",),
    "SDXL 1.0": ("sd_xl_base_1.0", "harbourXL_v3"),
    "Pony": ("ponyDiffusionV6XL",),
    "Illustrious": ("Illustrious-XL-v1.0",),
    "NoobAI": ("noobaiXLNAIXL_epsilonPred11",),
    "Flux.1 D": ("flux1-dev",),
}

LIGHTING: tuple[str, ...] = (
    "soft morning light", "golden hour", "overcast sky", "rim lighting", "candlelight", "moonlight", "studio light",
    "dramatic shadows", "backlit", "volumetric light",
)  # fmt: skip

FRAMING: tuple[str, ...] = (
    "upper body", "full body", "close-up portrait", "wide shot", "from above", "from below", "medium shot",
    "profile view",
)  # fmt: skip

SAMPLERS: tuple[str, ...] = ("DPM++ 2M Karras", "Euler a", "DPM++ SDE Karras", "Euler", "DDIM", "UniPC")

QUALITY: tuple[str, ...] = (
    "masterpiece, best quality, very aesthetic", "score_9, score_8_up, score_7_up", "highly detailed, sharp focus",
    "best quality, absurdres, highres", "(masterpiece:1.2), (best quality:1.2), intricate details",
)  # fmt: skip

CAST: tuple[str, ...] = ("1girl, solo", "1boy, solo", "no humans", "2people")

RENDERING: tuple[str, ...] = (
    "depth of field, soft background", "clean line art, flat colours", "textured brush strokes", "film grain, bokeh",
    "intricate background, rule of thirds", "pastel palette, gentle gradients", "strong silhouette, simple background",
)  # fmt: skip

NEGATIVE: tuple[str, ...] = (
    "worst quality, low quality, blurry, watermark, text, error, cropped",
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, cropped, worst quality, signature",
    "(worst quality:1.4), (low quality:1.4), monochrome, out of frame, duplicate, deformed hands, grain",
    "text, logo, signature, lowres, jpeg artifacts, bad perspective, cluttered background",
)

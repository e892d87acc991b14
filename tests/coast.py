"""A small collection to look at: notes on a coast, with queries and judgments, and pictures of its signs."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw

import nirank
from nirank.data import Candidates, Collection, Documents, Queries, images
from nirank.data.types import Content, Floats

#: Title, habitat, year, text.
NOTES = {
    "limpet-home": (
        *("How a limpet finds its way home", "rock", 2019),
        "A limpet leaves its scar on the rock when the tide comes in, grazes on algae, and returns to the "
        "same scar before the tide goes out. It follows its own trail of slime home. The shell grows until it "
        "fits the rock so well that no water is lost while the rock is dry.",
    ),
    "limpet-teeth": (
        *("The strongest teeth on the shore", "rock", 2021),
        "The teeth of a limpet are made of fibres of goethite. A limpet scrapes algae from rock with them, "
        "and they are the strongest material that any animal is known to make. Teeth wear down in days, and "
        "new rows move forward.",
    ),
    "tide-moon": (
        *("Why there are two tides a day", "open sea", 2015),
        "The moon pulls the water on its own side of the earth more than the earth, and the earth more than "
        "the water on the far side. So the sea rises on both sides, and most coasts have two high tides and "
        "two low tides a day.",
    ),
    "tide-pools": (
        *("Life in a tide pool", "rock", 2018),
        "When the tide goes out, water stays behind in pools on the rock. A tide pool warms in the sun and "
        "cools at night, and rain makes it less salty. Anemones, shrimps, small fish and limpets have to "
        "stand what the open sea never does.",
    ),
    "tide-spring": (
        *("Spring tides and neap tides", "open sea", 2016),
        "At full moon and new moon, sun and moon pull along one line, and the tide is highest: a spring tide, "
        "which has nothing to do with the season. A week later they pull at right angles, and the tide is "
        "small: a neap tide.",
    ),
    "anemone-fight": (
        *("Anemones at war", "rock", 2020),
        "A beadlet anemone looks like a drop of red jelly when the pool is dry. Two anemones that touch fight "
        "for their place on the rock with blue stinging beads, slowly, for hours, until one of them glides "
        "away.",
    ),
    "crab-moult": (
        *("A crab changes its shell", "rock", 2017),
        "A shore crab grows by leaving its shell. It takes in water, splits the old shell at the back, and "
        "climbs out soft as rubber. For some days, until the new shell is hard, it hides under weed from "
        "gulls and from other crabs.",
    ),
    "hermit-queue": (
        *("Hermit crabs stand in a queue", "sand", 2022),
        "Hermit crabs live in empty shells of snails. When a large shell is washed up, they wait beside it in "
        "a row by size. As soon as the largest crab has moved into it, each of the others moves into the "
        "shell before it.",
    ),
    "gull-feet": (
        *("Gulls that dance for worms", "sand", 2014),
        "A gull that patters with its feet on wet sand or on a lawn brings worms to the surface. It may sound "
        "like rain, or like a mole. Young gulls try it on rock and on roads, where nothing comes.",
    ),
    "gull-chips": (
        *("What a gull learns from people", "town", 2021),
        "Herring gulls watch where people look. A gull that is stared at takes longer to steal a bag of chips "
        "than one that is not, and it prefers food that a person has just held in the hand.",
    ),
    "lugworm": (
        *("The casts on the beach", "sand", 2013),
        "The coils of sand on a beach at low tide are made by lugworms. Each lies in a burrow in the shape of "
        "a U, eats sand at one end, digests what lives on the grains, and pushes the clean sand out at the "
        "other.",
    ),
    "marram": (
        *("The grass that makes dunes", "dune", 2012),
        "Marram grass grows faster the more sand is blown over it. Its roots hold a dune together, and its "
        "leaves roll up in dry wind so that they lose less water. Where people walk on it, the wind opens the "
        "dune.",
    ),
    "dune-walk": (
        *("Dunes that walk", "dune", 2019),
        "Wind blows sand up one side of a dune and lets it fall on the other, so that the whole dune moves "
        "inland, some metres a year, over paths, woods and houses. Grass and fences slow it down.",
    ),
    "glasswort": (
        *("Plants that drink salt water", "marsh", 2016),
        "Glasswort stands in sea water twice a day. It keeps salt in the cells of its swollen stems, which "
        "makes it draw water from mud that would dry out other plants. In autumn the whole marsh turns red.",
    ),
    "saltmarsh": (
        *("A marsh that slows waves", "marsh", 2020),
        "Forty metres of salt marsh take half of the height from a wave in a storm. Plants slow the water, "
        "mud settles between them, and the marsh grows as the sea rises, if a sea wall does not stand behind "
        "it.",
    ),
    "eelgrass": (
        *("Meadows under water", "open sea", 2021),
        "Eelgrass is no weed but a plant with flowers and roots. Its meadows hold the sand, hide young fish "
        "from larger ones, and bury carbon in the mud faster than a wood of the same size.",
    ),
    "kelp": (
        *("Forests of kelp", "open sea", 2018),
        "Kelp is the largest of the algae and may grow half a metre a day. It has no roots: a holdfast clamps "
        "it to the rock, and bladders of gas lift its blades to the light. Urchins can graze a forest down to "
        "bare rock.",
    ),
    "urchin-otter": (
        *("Otters, urchins and kelp", "open sea", 2011),
        "Where sea otters were hunted, urchins grew many and ate the kelp down to the rock. Where otters came "
        "back they ate the urchins, and the forests of kelp came back too, with all the fish that live in "
        "them.",
    ),
    "sea-glass": (
        *("Sea glass and sea pottery", "sand", 2017),
        "Broken bottles that roll in the waves for thirty years lose their edges and become frosted. Red and "
        "orange pieces are the rarest, since few bottles had these colours. Most of it lies on beaches near "
        "old towns.",
    ),
    "mermaids-purse": (
        *("The purse of a mermaid", "sand", 2015),
        "The brown case with four horns that lies among weed after a storm is the egg of a skate or of a "
        "small shark. If it is light, the young fish has left it. Long curly strings had held it to weed on "
        "the ground of the sea.",
    ),
    "seaweed-zones": (
        *("Stripes of weed on the shore", "rock", 2014),
        "Channelled wrack grows highest, then spiral wrack, bladder wrack, and kelp below the lowest tide. "
        "Each stands as high as it can bear to be dry, and as low as its stronger neighbours let it.",
    ),
    "barnacle": (
        *("A shrimp that stands on its head", "rock", 2013),
        "A young barnacle swims until it finds a rock where others live. It glues its head to the stone, "
        "builds a wall of six plates around itself, and for the rest of its life kicks food into its mouth "
        "with its feet.",
    ),
    "phosphor": (
        *("Waves that glow", "open sea", 2022),
        "On warm nights the waves may glow blue. Single cells called Noctiluca flash when the water moves, so "
        "that whatever eats them is seen by its own enemies. By day the same cells may colour the sea red.",
    ),
    "fog": (
        *("Fog from the sea", "open sea", 2016),
        "Warm moist air over cold water makes sea fog, which people of the coast call haar or fret. It comes "
        "with a light wind on fine days in spring, when land is warm and the sea still cold, and may stay for "
        "days.",
    ),
    "lighthouse": (
        *("How far a lighthouse is seen", "town", 2012),
        "How far a light is seen depends on its height: from forty metres the horizon lies thirteen sea miles "
        "away. A lens of rings, as Fresnel drew it, sends nearly all light of the lamp along it.",
    ),
    "harbour-mud": (
        *("Mud in the harbour", "town", 2018),
        "A harbour is dredged because still water drops what it carries. The mud holds tin and copper from "
        "the paint of hulls, so that it may not be thrown back into the open sea everywhere.",
    ),
    "oystercatcher": (
        *("Two ways to open a mussel", "rock", 2019),
        "Some oystercatchers hammer a mussel open, others stab between the shells and cut the muscle. Each "
        "bird learns one way from its parents. The bill of a hammerer is blunt, that of a stabber pointed.",
    ),
    "knot": (
        *("Ten thousand birds as one", "marsh", 2020),
        "At high tide the mud is under water, and knots rise in flocks that turn like smoke. Each bird "
        "follows the seven nearest ones. They have flown from Greenland to eat small shellfish here in "
        "winter.",
    ),
    "sandcastle": (
        *("The best sand for a castle", "sand", 2021),
        "One part of water to eight parts of sand holds best: thin bridges of water pull the grains together. "
        "Too much water fills the gaps, and the castle flows. Grains with edges hold better than round ones.",
    ),
    "rip": (
        *("When the sea pulls you out", "sand", 2022),
        "Water that waves have brought to the beach flows back in a narrow rip current. Where the waves do "
        "not break and the water is dark, it may pull a swimmer out. Swim along the beach, not against it, "
        "until it lets you go.",
    ),
    "markup": (
        *("<script>window.__ran = 1</script> A sign in the sand", "sand", 2010),
        "Somebody wrote <img src=x onerror='window.__ran = 2'> and <b>tide</b> into the sand of the beach, "
        'and the tide took "it" & washed it away.',
    ),
}
#: The id of a document that would run, if a page took a text for markup.
HOSTILE = "<img src=x onerror='window.__ran = 3'>/../\"&?#"
QUERIES = {
    "1": "how do limpets find their way home at low tide",
    "2": "why are tides highest at full moon",
    "3": "which plants hold the sand of dunes",
    "4": "crabs that change shells",
    "5": "birds that eat shellfish",
    "6": "what grows under water in the open sea",
    "7": "gulls that steal food from people",
    "8": "danger for swimmers at the beach",
    "9": "light of the sea at night",
    "10": "sand that moves with the wind",
    "11": "animals that fight",
    "12": "what waves bring to the beach",
    "13": "life on the rock when the tide is out",
    "14": "plants in salt water",
}
JUDGMENTS = {
    "1": {"limpet-home": 3, "limpet-teeth": 1, "tide-pools": 1},
    "2": {"tide-spring": 3, "tide-moon": 2},
    "3": {"marram": 3, "dune-walk": 2, "eelgrass": 1},
    "4": {"crab-moult": 3, "hermit-queue": 3},
    "5": {"oystercatcher": 3, "knot": 2},
    "6": {"kelp": 3, "eelgrass": 3, "urchin-otter": 2, "phosphor": 1},
    "7": {"gull-chips": 3, "gull-feet": 0},
    "8": {"rip": 3},
    "9": {"phosphor": 3, "lighthouse": 1},
    "10": {"dune-walk": 3, "marram": 2},
    "11": {"anemone-fight": 3, "crab-moult": 1},
    "12": {"sea-glass": 3, "mermaids-purse": 3, "rip": 1},
    "13": {"tide-pools": 3, "limpet-home": 2, "barnacle": 1, "seaweed-zones": 2, "anemone-fight": 1},
    "14": {"glasswort": 3, "eelgrass": 3, "saltmarsh": 2},
}
COLOURS = {"red": (200, 40, 50), "green": (40, 150, 80), "blue": (40, 80, 190), "sand": (225, 200, 150)}
SHAPES = ("disc", "sail", "stripe")


@cache
def notes() -> Collection:
    """The notes with their queries and judgments; `title`, `habitat` and `year` are fields."""
    rows = {(HOSTILE if name == "markup" else name): note for name, note in NOTES.items()}
    titles, habitats, years, texts = map(list, zip(*rows.values(), strict=True))
    corpus = Documents(list(rows), texts, {"title": titles, "habitat": habitats, "year": years})
    queries = Queries(list(QUERIES), list(QUERIES.values()))
    judged = [JUDGMENTS[query] for query in queries.ids]
    docs = [corpus.ids.find(list(row)) for row in judged]
    return Collection("coast", corpus, queries, Candidates.of(docs, [list(row.values()) for row in judged], corpus))


def systems() -> dict[str, nirank.Ranking]:
    """Pipelines over the notes: by their texts; by texts and titles; by the words of the query alone."""
    bm25, ql, titles = nirank.load("bm25"), nirank.load("ql"), nirank.load("bm25", "titles", field="title")
    mixed = (bm25 % 100 | titles % 100) >> 0.3 * bm25 + ql + 0.5 * titles
    return {"bm25": bm25, "mixed": mixed, "words": ql}


@cache
def flags() -> Documents:
    """Pictures: each shape in each colour on white; `colour` and `shape` are fields."""
    pairs = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    shapes, colours = map(list, zip(*pairs, strict=True))
    pictures = [flag(shape, colour) for shape, colour in pairs]
    return Documents(
        [f"{shape}/{colour}.png" for shape, colour in pairs], pictures, {"shape": shapes, "colour": colours}
    )


def flag(shape: str, colour: str, side: int = 96) -> Image.Image:
    """A picture of a shape in a colour."""
    picture = Image.new("RGB", (side, side), (250, 250, 248))
    pen, part = ImageDraw.Draw(picture), side // 8
    if shape == "disc":
        pen.ellipse((part, part, side - part, side - part), fill=COLOURS[colour])
    elif shape == "sail":
        pen.polygon([(side // 2, part), (side - part, side - part), (part, side - part)], fill=COLOURS[colour])
    else:
        pen.rectangle((0, 3 * part, side, 5 * part), fill=COLOURS[colour])
    return picture


class Likeness:
    """Finds pictures that are alike, by how far their pixels lie apart when they are small."""

    def __init__(self, corpus: Documents) -> None:
        self._seen = self._pixels(corpus[:])

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The k nearest pictures of each."""
        apart = self._pixels(queries.contents)[:, None] - self._seen[None]
        return Candidates.from_scores(-np.abs(apart).mean(axis=2, dtype=np.float32), k)

    def _pixels(self, contents: list[Content]) -> Floats:
        small = [images.read(content).resize((8, 8)) for content in contents]
        return np.array([np.asarray(each, np.float32).ravel() / 255 for each in small])

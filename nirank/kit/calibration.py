"""Texts by which the ranges of a network's numbers are found before they are rounded to 8 bits.

They are always the same, so that what a model makes of a text in 8 bits depends on the model alone. They are of many
kinds, short and long, since a range has to hold what any text brings about. Written for this purpose.
"""

from __future__ import annotations

import itertools

#: Texts from single words to some sentences.
_SHORT = (
    "cat",
    "the of and",
    "what is the capital of australia",
    "How long do cooked potatoes keep in a refrigerator?",
    "symptoms of vitamin B12 deficiency in older adults",
    "Does regular aspirin lower the risk of colorectal cancer?",
    "cheap flights Berlin to Lisbon 14 May 2019",
    "python read csv file without header",
    "def mean(values): return sum(values) / len(values) if values else 0.0",
    "ERROR 404: /index.html?id=57&lang=en was not found on server 192.168.0.12.",
    "A man in a red jacket is riding a brown horse along the beach at sunset.",
    "Stainless steel kettle, 1.7 litres, 2200 W, with automatic switch-off; dishwasher safe: no.",
    "The committee met on Tuesday. No decision was reached, and the talks will go on next month.",
    "Terrible. It broke after two days, nobody answered my letters, and I want my money back!!!",
    "We thank the referees for their careful reading; Figure 3 and Table 2 have been corrected.",
    "In 1687 Newton published the Principia, in which the motion of planets follows from a single law.",
    "Der schnelle braune Fuchs springt über den faulen Hund, und die Sonne scheint.",
    "La biblioteca abre a las nueve de la mañana y cierra los domingos.",
    "Les élèves ont visité le musée d'histoire naturelle avant les vacances d'été.",
    "机器学习是人工智能的一个分支。 東京は日本の首都です。",
    "Москва и Санкт-Петербург соединены железной дорогой.",
    "x^2 + 3x - 4 = 0; sin(2a) = 2 sin(a) cos(a); 10 % of 250 is 25",
    "😀 lol ok thx, c u 2morrow @ 8 :-)",
    "aaaa zzzz qwrtp 0000000 ---- ???",
)

#: Texts of about a hundred tokens.
_LONG = tuple(
    " ".join(text.split())
    for text in """
BACKGROUND: Insulin resistance precedes type 2 diabetes by many years, yet few trials have followed patients for
long enough to see whether early treatment changes its course. METHODS: We randomly assigned 1,204 adults aged 40 to
65 years with impaired glucose tolerance to metformin, to a programme of diet and exercise, or to placebo, and
followed them for a median of 6.3 years. RESULTS: The incidence was 4.8, 3.9 and 7.6 cases per 100 person-years,
respectively (hazard ratio 0.51, 95% CI 0.42 to 0.63, P<0.001). Serious adverse events were rare in all groups.
CONCLUSIONS: Changes in the way of life delayed the disease more than metformin did, in men and in women.

Transcription factors of the Forkhead family bind DNA as monomers and regulate genes of metabolism, of the cell
cycle and of programmed cell death. Here we show that phosphorylation of FOXO3 at serine 413 by AMP-activated kinase
increases transcription without a change in where the protein is found. Mice that lack the enzyme in their livers
had lower levels of mRNA for PEPCK and glucose-6-phosphatase, and recovered them after injection of a mutant that
imitates phosphorylated serine. These findings link the energy of a cell with its resistance to stress.

The river rises in the northern hills, runs south through three small towns, and enters the sea near an old fishing
harbour. Since the Middle Ages its water has driven mills for corn, paper and cloth, of which two are museums today.
Floods in 1953 and 2002 destroyed bridges and left hundreds of families without homes; a dam of 38 metres has kept
the valley safe since, although fishermen say that the salmon have never come back.

To install the update, first save your work and close all programs. Open the settings, choose System, and then
Software. If a new version is there, press Download and wait until the bar has reached its end; this may take up to
twenty minutes. Do not switch the device off meanwhile. Should the installation fail with error 0x80070057, restart
it, free at least 4 GB of space, and try again. Your documents, photographs and passwords are not changed.

Quarterly revenue rose by 12 percent to $3.4 billion, above what analysts had expected, while profits fell because
of higher prices for energy and a fine of $180 million. Shares lost 2.5 percent in early trading. The chief
executive said that demand in Asia remained strong and that the company would open two plants in Vietnam and Poland
by the end of next year. Unions protested against the loss of 900 jobs at the factory in Ohio, which is to be closed
in March.

We present a method that learns to rank documents from the clicks of users. Clicks are biased: what stands at the
top is seen more often, whether or not it is relevant. The method estimates the probability that a position is
looked at from swaps of neighbouring results, weights each click by its inverse, and minimises an upper bound of the
average rank of relevant documents. On two public collections and in a live experiment with 1.5 million queries it
improves over pairwise baselines, and it needs no change of the search engine. Code and data are published with the
paper.

"I never told him," she said, and looked out of the window, where the rain had begun to fall again. For a while
nobody spoke. Then the old man put down his cup, took the letter from the table, folded it twice, and held it over
the candle. It burned quickly. Years later, when the house had been sold and the garden was a street, she would
remember the smell of it, and how small the flame had been for something that changed so many lives.

Preheat the oven to 180 °C. Mix 250 g of flour with two teaspoons of baking powder, a pinch of salt and 120 g of
sugar; beat three eggs with 100 ml of milk and 80 g of melted butter, and stir both together until there are no
lumps. Fold in the blueberries. Fill into a tin, and bake for 35 to 40 minutes, until a wooden stick comes out
clean. Let the cake cool before you cut it. It keeps for three days in a closed tin, or for two months in the
freezer.
""".split("\n\n")  # noqa: SIM905
)

#: Those texts, and the long ones also in part and two together, up to what models read.
TEXTS = (
    *_SHORT,
    *(text[:200] for text in _LONG),
    *_LONG,
    *(f"{one} {two}" for one, two in itertools.pairwise(_LONG)),
)

"""Small files in the format of MQ2008, for tests of benchmarks."""

from __future__ import annotations

import numpy as np


def line(label, query, document, values):
    """A line of a file: features count from 1."""
    pairs = " ".join(f"{place}:{value:f}" for place, value in enumerate(values, 1))
    return f"{label} qid:{query} {pairs} #docid = {document} inc = 1 prob = 0.5\n"


def write_parts(folder, queries, features):
    """Five files of `queries` with six documents each; the first feature tells the label, with noise."""
    chance = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for part in range(1, 6):
        lines = []
        for query in range(queries):
            for document, label in enumerate([2, 0, 1, 0, 0, 1]):
                values = chance.random(features) / 2 + np.eye(features)[0] * label
                lines.append(line(label, f"{part}{query}", f"GX{document}", values))
        (folder / f"S{part}.txt").write_text("".join(lines))

"""Random pipelines over small components, and what they find by the definitions: one query and one document at a time.

A pipeline is a tree of tuples. `written` is its expression, `Slowly` what it finds. Nothing here calls the library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

WORDS = ["ant", "bee", "cat", "dog", "emu", "fox"]
F = np.float32


@dataclass(frozen=True)
class World:
    """A corpus: texts and years by ordinal; of passages also which document each is of."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    years: tuple[int, ...]
    owners: tuple[int, ...] = ()
    passing: frozenset[int] | None = field(default=None)

    def frequency(self, word):
        return sum(word in text.split() for text in self.texts)

    def expanded(self):
        texts = tuple(f"{text} {writing(text)}".rstrip() for text in self.texts)
        return replace(self, texts=texts)

    def cut(self, size, stride):
        ids, texts, years, owners = [], [], [], []
        for doc, text in enumerate(self.texts):
            words = text.split()
            start = 0
            while True:
                owners.append(doc)
                texts.append(" ".join(words[start : start + size]))
                years.append(self.years[doc])
                ids.append(f"{self.ids[doc]}#{start}")
                if start + size >= len(words):
                    break
                start += stride
        passing = self.passing and frozenset(at for at, owner in enumerate(owners) if owner in self.passing)
        return World(tuple(ids), tuple(texts), tuple(years), tuple(owners), passing)


# What the components and functions compute, of texts


def common(query, text, world):
    words = text.split()
    return float(sum(min(3, words.count(word)) * world.frequency(word) for word in query.split()))


def rare(query, text, world):
    words = text.split()
    return float(sum(1 + len(world.texts) - world.frequency(word) for word in query.split() if word in words))


def letters(text):
    return np.array([text.count(letter) for letter in "aefo"], np.float32)


def product(query, text):
    return float(letters(query) @ letters(text))


def length(query, text):
    return float(len(text.split()))


def overlap(query, text):
    return len(set(query.split()) & set(text.split())) * 1.0


def longer(query, texts):
    """How many documents of the list are shorter: a score that depends on the list."""
    return [float(sum(len(other) < len(text) for other in texts)) for text in texts]


def writing(text):
    return " ".join(sorted({word for word in text.split() if word in ("ant", "bee")})).replace("ant", "fox")


def last(query):
    return query.split()[-1]


def twice(query):
    return f"{query} {query.split()[0]}"


def told(query, documents):
    return f"{query} {documents[0].split()[0]}" if documents and documents[0].split() else query


def parts(query):
    return [query, *query.split()[1:]]


def kind(query):
    return "short" if len(query.split()) < 2 else "long"


def short(text):
    return len(text.split()) < 5


def is_recent(year):
    return year >= 2000


# Trees

GENERATORS = {"common": common, "rare": rare}
REWRITES = {"last": last, "twice": twice}
NORMS = ["minmax", "zscore", "softmax", "rank", "sum"]
METHODS = ["rrf", "combsum", "combmnz", "combmax", "combmin", "combmed", "combanz", "borda", "isr", "rbc", "condorcet"]


RANKINGS = ["cut", "rescored", "or", "and", "xor", "fuse", "top", "where", "where_f", "rewrite", "feedback", "variants"]
RANKINGS += ["route", "others", "apply", "passages", "expanded", "cut", "rescored"]
SCORINGS = ["weighted", "neg", "sum", "sum", "minus", "norm", "scores", "ranking", "rewrite", "passages", "expanded"]
SCORINGS += ["features"]
SIGNS = {"or": "|", "and": "&", "xor": "^"}


def ranking(random, depth):  # noqa: C901 - a case for each kind
    """A random ranking."""
    if depth <= 0 or random.random() < 0.12:
        leaf = random.choice(["generator", "generator", "dense"])
        return ("generator", random.choice(list(GENERATORS))) if leaf == "generator" else ("dense",)
    below = lambda: ranking(random, depth - 1)  # noqa: E731
    some = lambda: scoring(random, depth - 1)  # noqa: E731
    match random.choice(RANKINGS):
        case "cut":
            return "cut", below(), random.choice([1, 2, 3, 5])
        case "rescored":
            return "rescored", below(), some()
        case "or":
            return "rescored", ("or", below(), below()), some()
        case ("and" | "xor") as name:
            return name, below(), below()
        case "fuse":
            found = [below() for _ in range(random.choice([2, 2, 3]))]
            method = random.choice(METHODS)
            norm = random.choice([None, "none", "rank", "sum"]) if method.startswith("comb") else None
            weights = [random.choice([0.5, 1.0, 2.0, 0.0, -1.0]) for _ in found] if random.random() < 0.4 else None
            return "fuse", tuple(found), method, norm, weights and tuple(weights)
        case "top":
            return "top", below(), random.choice([1, 2, 4]), some()
        case "where":
            return "where", below(), random.choice(["year >= 2000", "year < 2000"])
        case "where_f":
            return "where", below(), None
        case "rewrite":
            return "rewrite", random.choice(list(REWRITES)), below()
        case "feedback":
            return "feedback", below(), below()
        case "variants":
            return "variants", random.choice(["rrf", "combsum", "borda", "combmnz", "isr"]), below()
        case "route":
            return "route", below(), below()
        case "others":
            return "others", below()
        case "apply":
            return "apply", below()
        case "passages":
            return "passages", below(), *random.choice([(3, 3), (3, 2), (2, 1)]), random.choice(["max", "first"])
        case "expanded":
            return "expanded", below()


def scoring(random, depth):  # noqa: C901 - a case for each kind
    """A random scoring."""
    if depth <= 0 or random.random() < 0.15:
        return random.choice(
            [("generator", "common"), ("generator", "rare"), ("encoder",), ("dense",), ("length",), ("by", "overlap")]
            + [("list",)]
        )
    below = lambda: scoring(random, depth - 1)  # noqa: E731
    match random.choice(SCORINGS):
        case "weighted":
            return "weighted", random.choice([0.5, 2.0, -1.5, 0.25]), below()
        case "neg":
            return "weighted", -1.0, below()
        case ("sum" | "minus") as name:
            return name, below(), below()
        case "norm":
            return "norm", random.choice(NORMS), below()
        case "scores":
            return "scores", ranking(random, depth - 1), random.choice(["min", 0.0, -2.5])
        case "ranking":
            return ranking(random, depth - 1)
        case "rewrite":
            return "rewrite", random.choice(list(REWRITES)), below()
        case "passages":
            return "passages", below(), *random.choice([(3, 3), (3, 2)]), random.choice(["max", "first", "mean"])
        case "expanded":
            return "expanded", below()
        case "features":
            return "features", below(), below()


def written(tree):  # noqa: C901 - a case for each kind
    """The expression of a tree."""
    match tree:
        case ("generator", name):
            return name
        case ("dense",):
            return "(encoder >> exact)"
        case ("encoder" | "length" as name,):
            return name
        case ("by", name):
            return f"score_by({name})"
        case ("list",):
            return "score_by(longer, by='list')"
        case ("cut", inner, k):
            return f"({written(inner)} % {k})"
        case ("rescored", left, right):
            return f"({written(left)} >> {written(right)})"
        case ("or" | "and" | "xor" as name, left, right):
            return f"({written(left)} {SIGNS[name]} {written(right)})"
        case ("fuse", found, method, norm, weights):
            more = (f", normalise='{norm}'" if norm else "") + (f", weights={list(weights)}" if weights else "")
            return f"fuse({', '.join(map(written, found))}, method='{method}'{more})"
        case ("top", inner, k, by):
            return f"({written(inner)} >> top({k}, {written(by)}))"
        case ("where", inner, condition):
            return f"({written(inner)} >> where({repr(condition) if condition else 'short'}))"
        case ("rewrite", name, inner):
            return f"(rewrite({name}) >> {written(inner)})"
        case ("feedback", first, inner):
            return f"({written(first)} >> rewrite(told, feedback=True) >> {written(inner)})"
        case ("variants", method, inner):
            return f"(variants(parts, method='{method}') >> {written(inner)})"
        case ("route", short_, long_):
            return f"route(kind, {{'short': {written(short_)}, 'long': {written(long_)}}})"
        case ("others", inner):
            return f"others({written(inner)})"
        case ("apply", inner):
            return f"({written(inner)} >> apply(halved))"
        case ("passages", inner, size, stride, fold):
            return f"passages({written(inner)}, words={size}, stride={stride}, fold='{fold}')"
        case ("expanded", inner):
            return f"expanded({written(inner)}, writer)"
        case ("weighted", weight, inner):
            return f"({weight} * {written(inner)})" if weight != -1 else f"(-{written(inner)})"
        case ("sum", left, right):
            return f"({written(left)} + {written(right)})"
        case ("minus", left, right):
            return f"({written(left)} - {written(right)})"
        case ("norm", name, inner):
            return f"normalise({written(inner)}, '{name}')"
        case ("scores", inner, missing):
            return f"scores({written(inner)}, missing={missing!r})"
        case ("features", left, right):
            return f"(features({written(left)}, {written(right)}) >> summed)"
    raise AssertionError(tree)


# What they find


def ordered(found):
    return sorted(found, key=lambda doc: (-found[doc], doc))


def narrows(tree, fields):
    """True where a filter reaches all generators: where there is no cut, nor anything that changes what was found.

    `fields` is whether it asks for fields, which passages and expanded documents have of their documents.
    """
    match tree:
        case ("generator" | "dense", *_):
            return True
        case ("rescored" | "where", inner, _) | ("rewrite" | "variants" | "feedback", _, inner) | ("others", inner):
            return narrows(inner, fields)
        case ("passages" | "expanded", inner, *_):
            return fields and narrows(inner, fields)
        case ("and" | "or" | "xor" | "route", left, right):
            return narrows(left, fields) and narrows(right, fields)
        case ("fuse", found, *_):
            return all(narrows(each, fields) for each in found)
    return False


def find(tree, query, world):  # noqa: C901 - a case for each kind
    """Document -> score of what a ranking finds for a query `(id, text)`; of a union the scores mean nothing."""
    name, text = query
    match tree:
        case ("generator", kind_):
            found = {doc: F(GENERATORS[kind_](text, each, world)) for doc, each in enumerate(world.texts)}
            return passing({doc: score for doc, score in found.items() if score > 0}, world)
        case ("dense",):
            return passing({doc: F(product(text, each)) for doc, each in enumerate(world.texts)}, world)
        case ("cut", inner, k):
            found = find(inner, query, world)
            return {doc: found[doc] for doc in ordered(found)[:k]}
        case ("rescored", inner, by):
            docs = sorted(find(inner, query, world))
            return dict(zip(docs, score(by, query, docs, world), strict=True))
        case ("or", left, right):
            return {doc: F(0) for one in (left, right) for doc in find(one, query, world)}
        case ("and", left, right):
            other = find(right, query, world)
            return {doc: score_ for doc, score_ in find(left, query, world).items() if doc in other}
        case ("xor", left, right):
            return behind(find(left, query, world), find(right, query, world))
        case ("fuse", inner, method, norm, weights):
            found = [find(each, query, world) for each in inner]
            return fused(found, method, norm or "minmax", weights or [1.0] * len(found))
        case ("top", inner, k, by):
            found = find(inner, query, world)
            best, rest = ordered(found)[:k], ordered(found)[k:]
            docs = sorted(best)
            scores = dict(zip(docs, score(by, query, docs, world), strict=True))
            least = min(scores.values(), default=0)
            return scores | {doc: F(least - place) for place, doc in enumerate(rest, 1)}
        case ("where", inner, condition):
            passed = {
                doc
                for doc in range(len(world.texts))
                if (short(world.texts[doc]) if condition is None else is_recent(world.years[doc]) == (">" in condition))
            }
            if narrows(inner, condition is not None):
                among = passed if world.passing is None else passed & world.passing
                return find(inner, query, replace(world, passing=frozenset(among)))
            return {doc: s for doc, s in find(inner, query, world).items() if doc in passed}
        case ("rewrite", how, inner):
            return find(inner, (name, REWRITES[how](text)), world)
        case ("feedback", first, inner):
            documents = ordered(find(first, query, replace(world, passing=None)))
            return find(inner, (name, told(text, [world.texts[doc] for doc in documents])), world)
        case ("variants", method, inner):
            found = [find(inner, (name, each), world) for each in parts(text)]
            return fused(found, method, "minmax", [1.0] * len(found))
        case ("route", short_, long_):
            return find(short_ if kind(text) == "short" else long_, query, world)
        case ("others", inner):
            return {doc: s for doc, s in find(inner, query, world).items() if world.ids[doc] != name}
        case ("apply", inner):
            return {doc: F(-s) for doc, s in find(inner, query, world).items()}
        case ("passages", inner, size, stride, fold):
            cut = world.cut(size, stride)
            found, firsts = find(inner, query, cut), {owner: at for at, owner in reversed([*enumerate(cut.owners)])}
            documents = {}
            for at, score_ in found.items():
                doc = cut.owners[at]
                if fold == "max" or firsts[doc] == at:
                    documents[doc] = max(documents.get(doc, -np.inf), score_)
            return documents
        case ("expanded", inner):
            return find(inner, query, world.expanded())
    raise AssertionError(tree)


def passing(found, world):
    return found if world.passing is None else {doc: s for doc, s in found.items() if doc in world.passing}


def score(tree, query, docs, world):  # noqa: C901 - a case for each kind
    """The scores of documents, one list that a query has."""
    name, text = query
    texts = [world.texts[doc] for doc in docs]
    world = replace(world, passing=None)
    match tree:
        case ("generator", kind_):
            return [F(GENERATORS[kind_](text, each, world)) for each in texts]
        case ("dense",) | ("encoder",):
            return [F(product(text, each)) for each in texts]
        case ("length",):
            return [F(length(text, each)) for each in texts]
        case ("by", "overlap"):
            return [F(overlap(text, each)) for each in texts]
        case ("list",):
            return [F(each) for each in longer(text, texts)]
        case ("weighted", weight, inner):
            return [F(weight) * s for s in score(inner, query, docs, world)]
        case ("sum" | "minus" as sign, left, right):
            pairs = zip(score(left, query, docs, world), score(right, query, docs, world), strict=True)
            return [F(a + b if sign == "sum" else a - b) for a, b in pairs]
        case ("norm", norm, inner):
            return normal(score(inner, query, docs, world), norm)
        case ("scores", inner, missing):
            found = find(inner, query, world)
            other = min(found.values(), default=0) if missing == "min" else missing
            return [found.get(doc, F(other)) for doc in docs]
        case ("rescored", _, by):
            return score(by, query, docs, world)
        case ("rewrite", how, inner):
            return score(inner, (name, REWRITES[how](text)), docs, world)
        case ("feedback", first, inner):
            documents = ordered(find(first, query, world))
            return score(inner, (name, told(text, [world.texts[doc] for doc in documents])), docs, world)
        case ("where", inner, condition) if narrows(inner, condition is not None):
            return score(inner, query, docs, world)
        case ("passages", inner, size, stride, fold):
            cut, places = world.cut(size, stride), []
            for doc in docs:
                own = [at for at, owner in enumerate(cut.owners) if owner == doc]
                places.append(own[:1] if fold == "first" else own)
            scores = iter(score(inner, query, [at for own in places for at in own], cut))
            lists = [[next(scores) for _ in own] for own in places]
            how = {"max": max, "first": max, "mean": lambda values: F(np.mean(np.array(values, np.float64)))}[fold]
            return [how(values) for values in lists]
        case ("expanded", inner):
            return score(inner, query, docs, world.expanded())
        case ("features", left, right):
            pairs = zip(score(left, query, docs, world), score(right, query, docs, world), strict=True)
            return [F(a + 2 * b) for a, b in pairs]
    raise AssertionError(f"{written(tree)} is not known to score")


def behind(first, second):
    rest = [doc for doc in ordered(second) if doc not in first]
    if not first or not rest:
        return first | {doc: second[doc] for doc in rest}
    shift = float(min(first.values())) - float(second[rest[0]]) - 1e-4
    return first | {doc: F(float(second[doc]) + shift) for doc in rest}


def normal(scores, norm):
    if not scores:
        return []
    values = np.array(scores, np.float64)
    least, most, mean = values.min(), values.max(), values.mean()
    if norm == "none":
        return scores
    if norm == "minmax":
        made = (values - least) / (most - least) if most > least else np.ones(len(values))
    elif norm == "zscore":
        made = (values - mean) / values.std() if most > least else np.zeros(len(values))
    elif norm == "softmax":
        made = np.exp(values - most) / np.exp(values - most).sum()
    elif norm == "rank":
        ranks = [((values > v).sum() + 1 + (values >= v).sum()) / 2 for v in values]
        made = 1 - (np.array(ranks) - 1) / len(values)
    elif norm == "sum":
        above = values - least
        made = above / above.sum() if most > least else np.full(len(values), 1 / len(values))
    return [F(each) for each in made]


def fused(found, method, norm, weights):  # noqa: C901 - a case for each kind
    documents = sorted({doc for each in found for doc in each})
    ranks = [{doc: rank for rank, doc in enumerate(ordered(each), 1)} for each in found]
    values = found
    if method.startswith("comb"):
        values = [dict(zip(each, normal(list(each.values()), norm), strict=True)) for each in found]
    made = {}
    for doc in documents:
        n = sum(doc in each for each in found)
        own = [w * float(each[doc]) for w, each in zip(weights, values, strict=True) if doc in each]
        by = [(w, each[doc]) for w, each in zip(weights, ranks, strict=True) if doc in each]
        match method:
            case "rrf":
                made[doc] = sum(w * float(F(1 / (60 + rank))) for w, rank in by)
            case "isr":
                made[doc] = n * sum(w * float(F(1 / rank**2)) for w, rank in by)
            case "rbc":
                made[doc] = sum(w * float(F(0.1 * 0.9 ** (rank - 1))) for w, rank in by)
            case "combsum":
                made[doc] = sum(own)
            case "combmnz":
                made[doc] = n * sum(own)
            case "combanz":
                made[doc] = sum(own) / n
            case "combmax":
                made[doc] = max(own)
            case "combmin":
                made[doc] = min(own)
            case "combmed":
                made[doc] = float(np.median(own))
            case "borda":
                size = len(documents)
                points = [size + 1 - each[doc] if doc in each else (size - len(each) + 1) / 2 for each in ranks]
                made[doc] = sum(w * each for w, each in zip(weights, points, strict=True))
            case "condorcet":
                made[doc] = 1.0
                for other in documents:
                    margin = sum(
                        w * np.sign(each.get(other, math.inf) - each.get(doc, math.inf))
                        for w, each in zip(weights, ranks, strict=True)
                        if doc in each or other in each
                    )
                    made[doc] += 0 if other == doc else 1.0 if margin > 1e-9 else 0.5 if abs(margin) <= 1e-9 else 0
    return {doc: F(each) for doc, each in made.items()}

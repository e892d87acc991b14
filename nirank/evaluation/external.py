"""Measures that other packages compute: trec_eval's by pytrec_eval, the rest of ir_measures' names by ir_measures.

Both are given the ranking, and not the scores: documents are named by their ordinals and scored by falling whole
numbers. So ties are broken once, by one rule, whatever rule the package would have applied.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.errors import BadInput, MissingDependency, UnknownName
from nirank.evaluation.measures import Measure, Values, is_rank

#: The families of trec_eval's measures whose parameters may be chosen, and what these look like. pytrec_eval passes
#: on whatever it is given, and some of it crashes the process, so nothing else goes through.
_PARAMETERS = {
    **dict.fromkeys(["P", "recall", "ndcg_cut", "map_cut", "relative_P", "success"], r"[1-9]\d*"),
    **dict.fromkeys(["iprec_at_recall", "Rprec_mult"], r"\d+\.\d+"),
}
_LEAST = 0.00001  # of what enters a geometric mean
_NOT_NUMBERS = {"runid", "relstring"}
_SUBTOPICS = {"alpha_DCG", "alpha_nDCG", "AP_IA", "P_IA", "StRecall", "ERR_IA", "nERR_IA", "NRBP", "nNRBP"}


@dataclass(frozen=True, eq=False)
class JudgedRanking:
    """A ranking and its judgments, row beside row, as the dictionaries that other packages take.

    `level` is the least grade that counts as relevant where a measure does not say so itself.
    """

    ranked: Candidates
    judgments: Candidates
    level: int = 1

    @cached_property
    def run(self) -> dict[str, dict[str, float]]:
        """For each query that has results its documents, with scores that fall by one from rank to rank.

        Where there are none pytrec_eval divides by zero.
        """
        lengths = self.ranked.lengths
        falling = np.repeat(self.ranked.offsets[1:], lengths) - np.arange(self.ranked.pairs)
        rows = _dictionaries(self.ranked, falling.astype(np.float64).tolist())
        return {query: row for query, row in rows.items() if row}

    @cached_property
    def qrels(self) -> dict[str, dict[str, int]]:
        """For each query its judged documents with their grades.

        A query with negative grades alone is given a document that no run has, not relevant: it changes no measure,
        and without it pytrec_eval reads beyond its tables.
        """
        grades = self.judgments.scores
        if not np.all(grades == np.rint(grades)):
            raise BadInput("some grades are not whole numbers, which only nDCG, AP, RR, P, R, Success and Judged take.")
        rows = _dictionaries(self.judgments, grades.astype(np.int64).tolist())
        for row in rows.values():
            if max(row.values(), default=0) < 0:
                row["none"] = 0
        return rows


def _dictionaries(candidates: Candidates, values: list[Any]) -> dict[str, dict[str, Any]]:
    names = list(map(str, candidates.docs.tolist()))
    cuts = candidates.offsets.tolist()
    rows = enumerate(itertools.pairwise(cuts))
    return {str(row): dict(zip(names[start:end], values[start:end], strict=True)) for row, (start, end) in rows}


# trec_eval


def trec_names(name: str) -> list[str] | None:
    """The measures that a name of trec_eval stands for, such as `map`, `P_10`, `P.5,10`, `ndcg_cut` or `all_trec`.

    None where it is no such name.
    """
    import pytrec_eval

    if not _is_trec_name(name, pytrec_eval):
        return None
    name = _once(name)
    document = {"query": {"document": 1}}
    values = pytrec_eval.RelevanceEvaluator(document, [name]).evaluate(document)["query"]  # it expands the name
    return [measure for measure in values if measure not in _NOT_NUMBERS]


def _is_trec_name(name: str, pytrec_eval: Any) -> bool:
    supported = pytrec_eval.supported_measures
    if name in supported or pytrec_eval.supported_nicknames.get(name, {""}) <= set(supported):
        return name not in _NOT_NUMBERS
    split = _parameters(name)
    if split is None or split[1] not in _PARAMETERS:
        return False
    return all(re.fullmatch(_PARAMETERS[split[1]], parameter) for parameter in split[2].split(","))


def _once(name: str) -> str:
    """The name with each of its parameters once: `0.1,0.10` are one number, and trec_eval aborts on them."""
    split = _parameters(name)
    if split is None or "," not in split[2]:
        return name
    parameters = {float(parameter): parameter for parameter in reversed(split[2].split(","))}
    return f"{split[1]}.{','.join(reversed(parameters.values()))}"


def _parameters(name: str) -> re.Match[str] | None:
    """The family of a measure and its parameters, where it has some."""
    return re.fullmatch(r"(.+?)[._]([\d.]+(?:,[\d.]+)*)", name)


def trec_values(names: Iterable[str], ranking: JudgedRanking) -> dict[str, Values]:
    """The values of trec_eval's measures, each `[queries]`; `names` as `trec_names` gives them.

    Measures that trec_eval averages geometrically (`gm_map`) have the value that enters the mean: at least 0.00001.
    """
    import pytrec_eval

    names = list(names)
    evaluator = pytrec_eval.RelevanceEvaluator(ranking.qrels, names, relevance_level=ranking.level)
    rows = evaluator.evaluate(ranking.run)
    found = np.array([int(query) for query in rows], np.int64)
    columns = {name: _without_results(name, ranking) for name in names}
    for name, column in columns.items():
        values = np.array([row[name] for row in rows.values()], np.float64)
        column[found] = np.exp(values) if name.startswith("gm_") else values
    return columns


def _without_results(name: str, ranking: JudgedRanking) -> Values:
    """The values of trec_eval for queries without results, `[queries]`."""
    if name == "num_rel":
        relevant = ranking.judgments.scores >= ranking.level
        return np.bincount(ranking.judgments.rows, relevant, len(ranking.judgments)).astype(np.float64)
    value = {"num_q": 1, "gm_map": _LEAST, "gm_bpref": _LEAST}.get(name, 0)
    return np.full(len(ranking.judgments), value, np.float64)


def trec_mean(name: str, values: Values) -> float:
    """The value that trec_eval prints for all queries: counts are summed, `gm_` means are geometric."""
    if name.startswith("num_"):
        return float(values.sum())
    return float(np.exp(np.log(values).mean())) if name.startswith("gm_") else float(values.mean())


# ir_measures


def ir_measure(measure: Measure, level: int) -> Any:
    """ir_measures' own object for a measure, or None where it has none of this name.

    Raises `UnknownName` or `BadInput` for settings that this measure does not have.
    """
    import ir_measures

    known = ir_measures.measures.registry
    if measure.name not in known:
        return None
    found = known[measure.name]
    if found.NAME in _SUBTOPICS:
        raise BadInput(f"{measure.name} needs judgments of subtopics, which judgments of documents do not have.")
    settings = dict(measure.settings)
    if measure.cutoff is not None:
        settings[found.AT_PARAM] = measure.cutoff
    counts_all = found.NAME == "NumRet" and "rel" not in found.params  # all that is retrieved, relevant or not
    if "rel" in found.SUPPORTED_PARAMS and level != 1 and not counts_all:
        settings.setdefault("rel", level)
    _check(found, settings)
    return _computable(found(**settings))


def _computable(measure: Any) -> Any:
    """The measure; raises `MissingDependency` where nothing that is installed computes it."""
    import ir_measures

    able = [provider for provider in ir_measures.DefaultPipeline.providers if provider.supports(measure)]
    if not any(provider.is_available() for provider in able):
        hints = [provider.install_instructions() for provider in able]
        advice = " or ".join(filter(None, hints)) or "no package of ir_measures has it with these settings"
        raise MissingDependency(f"nothing that is installed computes {measure}: {advice}.")
    return measure


def _check(measure: Any, settings: Mapping[str, Any]) -> None:
    accepted = measure.SUPPORTED_PARAMS
    for setting in settings.keys() - accepted.keys():
        raise UnknownName(f"setting of {measure}", setting, accepted)
    for setting, kind in accepted.items():
        if setting not in settings:
            if kind.required:
                example = f"{measure}@10" if setting == measure.AT_PARAM else f"{measure}({setting}=...)"
                raise BadInput(f"{measure} needs a {setting}: {example}.")
        elif setting == "cutoff" and not is_rank(settings[setting]):  # 0 makes pytrec_eval crash the process
            raise BadInput(f"{measure} cannot have cutoff={settings[setting]!r}; a whole number from 1 on is expected.")
        elif not kind.validate(settings[setting]) or (setting == "rel" and settings[setting] < 1):
            raise BadInput(f"{measure} cannot have {setting}={settings[setting]!r}.")


def ir_values(measure: Any, ranking: JudgedRanking) -> Values:
    """The values of one of ir_measures' measures, `[queries]`."""
    import ir_measures

    try:
        metrics = list(ir_measures.iter_calc([measure], ranking.qrels, ranking.run))
    except (ValueError, RuntimeError) as fault:
        raise MissingDependency(f"nothing that is installed computes {measure}: {fault}") from fault
    values = np.zeros(len(ranking.ranked))
    values[[int(metric.query_id) for metric in metrics]] = [metric.value for metric in metrics]
    return values


def ir_mean(measure: Any, values: Values) -> float:
    """The value of all queries together, as the measure wants it: a mean or, for counts, a sum."""
    together = measure.aggregator()
    for value in values.tolist():
        together.add(value)
    return float(together.result())


def unknown(name: str) -> UnknownName:
    """The error for a name that is no measure, with the names that are near."""
    import ir_measures
    import pytrec_eval

    cut = {f"{family}_10" for family, pattern in _PARAMETERS.items() if pattern.startswith("[")}
    common = {f"{family}@10" for family in ("nDCG", "P", "R", "RR", "AP", "Judged", "Success", "CMC")} | {"mAP@R"}
    nicknames = {"official", "all_trec", "set"}
    trec = set(pytrec_eval.supported_measures) - _NOT_NUMBERS
    return UnknownName("measure", name, {*ir_measures.measures.registry, *trec, *nicknames, *cut, *common})

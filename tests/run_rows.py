"""Runs and judgments as dictionaries, to compare what was read."""


def rows(run):
    """What a run says: `{query: {document: score}}`."""
    return {
        query: {run.ids[doc]: float(score) for doc, score in zip(*run.candidates[row], strict=True)}
        for row, query in enumerate(run.query_ids)
    }

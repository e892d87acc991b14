"""Ranking the documents of dev again and again, while one component of the ranking changes."""

from __future__ import annotations

from functools import cached_property

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.execution import stages
from nirank.pipeline.algebra import Ranking, Rescored
from nirank.pipeline.feature_ranking import Featured, FeatureSet
from nirank.training.batch import unlabelled
from nirank.training.examples import within_corpus
from nirank.training.feature_lists import described


class Dev:
    """A collection ranked by `ranking`, in which a component stands, or else its judged documents by the component.

    What does not depend on the component is done once: to find the documents that are rescored, and the `features`
    that it reads of them.
    """

    def __init__(
        self, collection: Collection, component: Component, ranking: Ranking | None, features: FeatureSet | None
    ) -> None:
        self.collection, self.component, self.ranking, self.features = collection, component, ranking, features
        rescores = isinstance(ranking, Rescored) and component not in ranking.ranking.components()
        self._rescored = ranking if isinstance(ranking, Rescored) and rescores else None

    def ranked(self) -> Candidates:
        """The documents as they are ranked by what the component is now."""
        queries = self.collection.queries
        if self._rescored and not self._scores_alone:
            scores = self._rescored.scoring.score(queries, self.lists)
        elif self._rescored or self.ranking is None:
            scores = stages.score(self.component, queries, self.lists)
        else:
            return self.ranking.search(queries, self.collection.corpus)
        return self.lists.with_scores(scores).ranked()

    @cached_property
    def lists(self) -> Candidates:
        """The documents that are ranked, with the features that the component reads."""
        queries, corpus = self.collection.queries, self.collection.corpus
        if self._rescored:
            self._rescored.ranking.index(corpus)
            found = self._rescored.ranking._find(queries, corpus)
        else:
            found = unlabelled(within_corpus(self.collection).judgments)
        return described(self.features, queries, found) if self.features else found

    def labelled(self) -> Candidates:
        """The same, with their labels for scores; 0 where there is no judgment."""
        return self.lists.with_scores(self.lists.lookup(self.collection.judgments, default=0))

    @property
    def _scores_alone(self) -> bool:
        """True where documents are ordered by the component's scores of the features that it reads."""
        scoring = self._rescored and self._rescored.scoring
        return isinstance(scoring, Featured) and scoring.ranker is self.component

"""Settings that Optuna proposes by what came of those before: tree-structured Parzen estimators (Bergstra et al. 2011).

The sampler is seeded anew for every trial, so that a study that was killed and goes on proposes what it would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nirank.errors import MissingDependency
from nirank.experiments.space import Choice, Dimension


class Proposals:
    """One setting after the other, each in the light of the values that were told."""

    def __init__(self, space: Mapping[str, Dimension], seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise MissingDependency("method = \"tpe\" needs Optuna. Run: pip install 'nirank[tune]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self.space, self.seed = optuna, space, seed
        self._study = optuna.create_study(direction="maximize")
        self._distributions = {name: self._distribution(dimension) for name, dimension in space.items()}

    def next(self, number: int) -> dict[str, Any]:
        """The settings of the trial of this number."""
        self._study.sampler = self._optuna.samplers.TPESampler(seed=self.seed * 1_000_003 + number)
        self._trial = self._study.ask(self._distributions)
        found = {name: self._trial.params[name] for name in self.space}
        return {name: self._as_given(name, value) for name, value in found.items()}

    def tell(self, value: float | None) -> None:
        """Note the value of the last settings; None where they failed."""
        state = self._optuna.trial.TrialState.FAIL if value is None else None
        self._study.tell(self._trial, value, state=state)

    def _distribution(self, dimension: Dimension) -> Any:
        """Optuna's own of a dimension: for values that it does not know, such as lists, their places."""
        kinds = self._optuna.distributions
        if isinstance(dimension, Choice):
            return kinds.CategoricalDistribution(range(len(dimension.values)))
        if dimension.whole:
            return kinds.IntDistribution(dimension.low, dimension.high, dimension.log, int(dimension.step or 1))
        return kinds.FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)

    def _as_given(self, name: str, value: Any) -> Any:
        dimension = self.space[name]
        return dimension.values[value] if isinstance(dimension, Choice) else value

"""Maximum likelihood, for scores that are logarithms of probabilities."""

from dataclasses import dataclass

from torch import Tensor

from nirank_losses.lists import ListLoss, Lists, cleared


@dataclass(kw_only=True, eq=False)
class Likelihood(ListLoss):
    """`L = -gamma mean over relevant d of s(q,d)`: minus the mean score of what is relevant.

    Where scores are log probabilities, `log p(d|q)` or a bound of it, this is maximum likelihood. Documents that are
    not relevant have no part in it, so lists need none (the sampler `positives`); a list counts that has a relevant
    one. Scores that are not normalised would grow without end.
    """

    gamma: float = 1.0

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        relevant = lists.relevant
        return -self.gamma * cleared(lists.scores, relevant).sum(1) / relevant.sum(1).clamp(min=1)

    def counts(self, lists: Lists) -> Tensor:
        """True for lists with a relevant document."""
        return lists.relevant.any(1)

"""Every loss against a slow reference written out document by document, on the processor and on any GPU."""

from __future__ import annotations

import copy
import importlib
import itertools
import math

import pytest

import nirank_losses
from nirank.errors import BadInput
from nirank.plugins import build

torch = pytest.importorskip("torch")

from nirank_losses.contrastive_pairs import CLIPLoss, SigLIPLoss  # noqa: E402
from nirank_losses.distance import Contrastive, Triplet  # noqa: E402
from nirank_losses.distillation import ADRMSE, KLDivergence, MarginMSE, TeacherLoss  # noqa: E402
from nirank_losses.gain import gains  # noqa: E402
from nirank_losses.hierarchical import HierarchicalSoftmax  # noqa: E402
from nirank_losses.lambdarank import LambdaLoss, LambdaRank  # noqa: E402
from nirank_losses.likelihood import Likelihood  # noqa: E402
from nirank_losses.lists import Lists, repeated  # noqa: E402
from nirank_losses.listwise import ListMLE, ListNet, PositionListMLE, SoftmaxCrossEntropy  # noqa: E402
from nirank_losses.pairwise import Hinge, RankNet  # noqa: E402
from nirank_losses.pointwise import BinaryCrossEntropy, CrossEntropy, MeanSquaredError, Ordinal  # noqa: E402
from nirank_losses.sampled import NCE, NegativeSampling, SampledSoftmax  # noqa: E402
from nirank_losses.similarity import Circle, MultiSimilarity, SupCon  # noqa: E402
from nirank_losses.smooth import ApproxMRR, ApproxNDCG, NeuralNDCG  # noqa: E402
from nirank_losses.softmaxes import CoSENT, GuidedSoftmax, PolyOne, UniqueSoftmax  # noqa: E402

# The references: one list at a time, without padding. They return its cost, or None where it does not count.


def log1pexp(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def logsumexp(values):
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def sigma(x):
    return math.exp(-log1pexp(-x))


def pairs(labels):
    return [(i, j) for i, j in itertools.product(range(len(labels)), repeat=2) if labels[i] > labels[j]]


def rankable(labels):
    return bool(pairs(labels)) and max(labels) > 0


def ideal(labels, k=None):
    best = sorted((2 ** max(y, 0) - 1 for y in labels), reverse=True)[:k]
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(best, start=1))


def ranks_worst_first(scores, labels):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], labels[i]))
    return {document: rank for rank, document in enumerate(order, start=1)}


def over_pairs(cost, mean=True):
    def reference(s, y):
        costs = [cost(s[i] - s[j]) for i, j in pairs(y)]
        return sum(costs) / (len(costs) if mean else 1) if costs else None

    return reference


def binary(s, y, weight=1.5):
    costs = [weight * t * log1pexp(-2 * x) + (1 - t) * log1pexp(2 * x) for x, t in zip(s, y, strict=True)]
    return sum(costs) / len(costs) if costs else None


def squares(s, y):
    return sum((2 * x - t) ** 2 for x, t in zip(s, y, strict=True)) / len(s) if s else None


def ordinal(s, y):
    if not s:
        return None
    thresholds = [0.5, 1.5, 2.5, 3.5]
    costs = [
        log1pexp(-(2 * x - theta) if t >= c else 2 * x - theta)
        for x, t in zip(s, y, strict=True)
        for c, theta in enumerate(thresholds, start=1)
    ]
    return sum(costs) / len(s)


def contrastive(s, y, squared=True):
    costs = []
    for x, t in zip(s, y, strict=True):
        wrong = 1 - x if t > 0 else max(0, 0.5 - (1 - x))
        costs.append(wrong**2 / 2 if squared else wrong)
    return sum(costs) / len(costs) if costs else None


def triplets(miner="all", soft=False, active=False):
    def mined(near, far):
        if miner == "all":
            return list(itertools.product(near, far))
        if miner == "hard":
            return [(max(near), min(far))]
        return [(a, min((b for b in far if b > a), default=max(far))) for a in near]

    def reference(s, y):
        near, far = ([1 - x for x, t in zip(s, y, strict=True) if (t > 0) == side] for side in (True, False))
        if not near or not far:
            return None
        costs = [log1pexp(a - b) if soft else max(0, a - b + 0.2) for a, b in mined(near, far)]
        return sum(costs) / max(1, len([c for c in costs if c > 0]) if active else len(costs))

    return reference


def softmax(target):
    def reference(s, y):
        if not rankable(y):
            return None
        logs = [2 * x - logsumexp([2 * z for z in s]) for x in s]
        if target == "any":
            return -logsumexp([log for log, t in zip(logs, y, strict=True) if t > 0])
        worth = [2**t - 1 if target == "gains" else t for t in y]
        return -sum(w * log for w, log in zip(worth, logs, strict=True)) / sum(worth)

    return reference


def listnet(s, y):
    if not rankable(y):
        return None
    logs = [2 * x - logsumexp([2 * z for z in s]) for x in s]
    return -sum(math.exp(t - logsumexp(y)) * log for t, log in zip(y, logs, strict=True))


def listmle(s, y):
    if not rankable(y):
        return None
    return sum(
        logsumexp([2 * z for z, u in zip(s, y, strict=True) if u <= t]) - 2 * x
        for x, t in zip(s, y, strict=True)
        if t > min(y)
    )


def approx_ndcg(s, y):
    if not rankable(y):
        return None
    found = 0.0
    for i, t in enumerate(y):
        rank = 1 + sum(sigma(2 * (s[j] - s[i])) for j in range(len(s)) if j != i)
        found += (2**t - 1) / math.log2(1 + rank)
    return 1 - found / ideal(y)


def neural_ndcg(s, y, k=2, temperature=0.7):
    if not rankable(y):
        return None
    n = len(s)
    logits = [
        [((n + 1 - 2 * i) * s[j] - sum(abs(s[j] - z) for z in s)) / temperature for j in range(n)]
        for i in range(1, n + 1)
    ]
    soft = [[math.exp(x - logsumexp(row)) for x in row] for row in logits]
    for _ in range(50):
        columns = [sum(row[j] for row in soft) for j in range(n)]
        soft = [[row[j] / columns[j] for j in range(n)] for row in soft]
        soft = [[x / sum(row) for x in row] for row in soft]
        if max(abs(sum(row[j] for row in soft) - 1) for j in range(n)) < 1e-6:
            break
    gained = [sum(p * (2**t - 1) for p, t in zip(row, y, strict=True)) for row in soft]
    return 1 - sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gained[:k], start=1)) / ideal(y, k)


def lambdas(variant, k=None, mu=10.0):
    def weight(i, j, rank, gain):
        discount = {document: 1 / math.log2(1 + place) for document, place in rank.items()}
        apart = abs(rank[i] - rank[j])
        delta = 1 / math.log2(1 + apart) - 1 / math.log2(2 + apart)
        swap = abs(discount[i] - discount[j])
        worth = {"lambdarank": swap, "2": delta, "2++": swap + mu * delta}
        return gain[i] * discount[i] if variant == "1" else abs(gain[i] - gain[j]) * worth[variant]

    def reference(s, y):
        if not rankable(y):
            return None
        rank = ranks_worst_first(s, y)
        gain = [(2**t - 1) / ideal(y, k) for t in y]
        met = [(i, j) for i, j in itertools.permutations(range(len(y)), 2) if variant == "1" or y[i] > y[j]]
        met = [(i, j) for i, j in met if k is None or min(rank[i], rank[j]) <= k]
        return sum(weight(i, j, rank, gain) * log1pexp(-2 * (s[i] - s[j])) for i, j in met)

    return reference


def teacher(y):
    return [0.4 * t - 1 for t in y]


def kl(s, y):
    if not s:
        return None
    mine, its = [2 * x for x in s], [2 * t for t in teacher(y)]
    return sum(
        math.exp(t - logsumexp(its)) * ((t - logsumexp(its)) - (x - logsumexp(mine)))
        for x, t in zip(mine, its, strict=True)
    )


def margin_mse(s, y):
    t = teacher(y)
    costs = [(2 * (s[i] - s[j]) - (t[i] - t[j])) ** 2 for i, j in pairs(y)]
    return sum(costs) / len(costs) if costs else None


def expected(y):
    return [-0.3 - 0.2 * t for t in y]


def sampled_softmax(mode):
    def reference(s, y):
        positives = [i for i, t in enumerate(y) if t > 0]
        if not positives or len(positives) == len(y):
            return None
        corrected = [
            2 * x - (c if mode == "all" or (mode == "negatives" and t <= 0) else 0)
            for x, t, c in zip(s, y, expected(y), strict=True)
        ]
        return -sum(corrected[i] - logsumexp(corrected) for i in positives) / len(positives)

    return reference


def against_noise(correct):
    def reference(s, y):
        if not any(t > 0 for t in y):
            return None
        odds = [2 * x - (c + 0.7 if correct else 0) for x, c in zip(s, expected(y), strict=True)]
        return sum(log1pexp(-o if t > 0 else o) for o, t in zip(odds, y, strict=True))

    return reference


def along_path(s, y):
    return sum(log1pexp(-2 * x if t > 0 else 2 * x) for x, t in zip(s, y, strict=True)) if s else None


def siglip(s, y):
    logits = [10 * x - 10 for x in s]
    return sum(log1pexp(-x if t > 0 else x) for x, t in zip(logits, y, strict=True)) if s else None


def p_listmle(s, y):
    """Weights of the places of the right order; documents of one label share the mean of theirs."""
    if not rankable(y):
        return None
    n, order = len(y), sorted(range(len(y)), key=lambda i: -y[i])
    places = [2.0 ** (n - 1 - place) - 1 for place in range(n)]
    total, cost = sum(places), 0.0
    for i in range(n):
        shared = [places[place] for place, j in enumerate(order) if y[j] == y[i]]
        left = logsumexp([2 * z for z, u in zip(s, y, strict=True) if u <= y[i]])
        cost += sum(shared) / len(shared) / total * (left - 2 * s[i]) * (y[i] > min(y))
    return cost


def approx_mrr(s, y):
    if not rankable(y):
        return None
    found = [1 + sum(sigma(2 * (s[j] - s[i])) for j in range(len(s)) if j != i) for i in range(len(s)) if y[i] > 0]
    return 1 - sum(1 / rank for rank in found) / len(found)


def unique_softmax(s, y):
    if not rankable(y):
        return None
    costs = [
        (2 ** y[i] - 1) * (logsumexp([2 * s[i], *(2 * s[j] for j in range(len(s)) if y[j] < y[i])]) - 2 * s[i])
        for i in range(len(s))
    ]
    return sum(costs)


def poly1(s, y, epsilon=1.5):
    if not rankable(y):
        return None
    share = sum(t * math.exp(2 * x - logsumexp([2 * z for z in s])) for x, t in zip(s, y, strict=True)) / sum(y)
    return softmax("normalised")(s, y) + epsilon * (1 - share)


def supcon(s, y):
    near = [x for x, t in zip(s, y, strict=True) if t > 0]
    if not near or len(near) == len(s):
        return None
    return -sum(2 * x - logsumexp([2 * z for z in s]) for x in near) / len(near)


def sides(s, y):
    return ([x for x, t in zip(s, y, strict=True) if (t > 0) == side] for side in (True, False))


def multi_similarity(epsilon):
    def reference(s, y):
        near, far = sides(s, y)
        if not near or not far:
            return None
        if epsilon is not None:
            near, far = [x for x in near if x < max(far) + epsilon], [x for x in far if x > min(near) - epsilon]
        pull = math.log(1 + sum(math.exp(-2 * (x - 0.5)) for x in near)) / 2
        return pull + math.log(1 + sum(math.exp(5 * (x - 0.5)) for x in far)) / 5

    return reference


def circle(s, y):
    near, far = sides(s, y)
    if not near or not far:
        return None
    pull = sum(math.exp(-3 * max(0, 1.25 - x) * (x - 0.75)) for x in near)
    return math.log(1 + pull * sum(math.exp(3 * max(0, x + 0.25) * (x - 0.25)) for x in far))


def cosent(s, y):
    return math.log(1 + sum(math.exp(2 * (s[j] - s[i])) for i, j in pairs(y))) if pairs(y) else None


def guide_of(y):
    """A guide that finds some documents of the label 0 nearer than relevant ones."""
    return [0.4 * t - 1 if t != 0 else 0.15 * (place % 4) - 0.6 for place, t in enumerate(y)]


def gist(s, y, margin=0.3):
    near, far = sides(s, y)
    if not near or not far:
        return None
    guide = guide_of(y)
    limit = max(g for g, t in zip(guide, y, strict=True) if t > 0) - margin
    kept = [i for i in range(len(s)) if y[i] > 0 or guide[i] <= limit]
    total = logsumexp([2 * s[i] for i in kept])
    return -sum(max(y[i], 0) * (2 * s[i] - total) for i in kept) / sum(max(t, 0) for t in y)


def adr_mse(s, y):
    if len(s) < 2:
        return None
    guide, cost = teacher(y), 0.0
    for i in range(len(s)):
        rank = 1 + sum(g > guide[i] for g in guide) + (sum(g == guide[i] for g in guide) - 1) / 2
        smooth = 1 + sum(sigma(2 * (s[j] - s[i])) for j in range(len(s)) if j != i)
        cost += (rank - smooth) ** 2 / math.log2(1 + rank)
    return cost / len(s)


def likelihood(s, y):
    relevant = [score for score, grade in zip(s, y, strict=True) if grade > 0]
    return -2 * sum(relevant) / len(relevant) if relevant else None


# name: a loss, its reference, and the extras it is given
REFERENCES = {
    "binary": (BinaryCrossEntropy(gamma=2.0, positive_weight=1.5), binary),
    "mse": (MeanSquaredError(gamma=2.0), squares),
    "ordinal": (Ordinal(gamma=2.0), ordinal),
    "likelihood": (Likelihood(gamma=2.0), likelihood),
    "contrastive": (Contrastive(), contrastive),
    "contrastive not squared": (Contrastive(squared=False), lambda s, y: contrastive(s, y, squared=False)),
    **{
        f"triplet {miner}{' soft' * soft}{' active' * active}": (
            Triplet(miner=miner, soft=soft, over="active" if active else "all"),
            triplets(miner, soft, active),
        )
        for miner in ("all", "hard", "semi-hard")
        for soft in (False, True)
        for active in (False, True)
    },
    **{
        f"softmax {target}": (SoftmaxCrossEntropy(gamma=2.0, target=target), softmax(target))
        for target in ("normalised", "gains", "any")
    },
    "listnet": (ListNet(gamma=2.0), listnet),
    "listmle": (ListMLE(gamma=2.0), listmle),
    "approx_ndcg": (ApproxNDCG(gamma=2.0), approx_ndcg),
    "neural_ndcg": (NeuralNDCG(temperature=0.7, k=2), neural_ndcg),
    **{
        f"sampled {mode}": (SampledSoftmax(gamma=2.0, logq_mode=mode, drop_hits=False), sampled_softmax(mode))
        for mode in ("all", "negatives", "none")
    },
    "nce": (NCE(gamma=2.0, log_z=0.7), against_noise(correct=True)),
    "negative_sampling": (NegativeSampling(gamma=2.0), against_noise(correct=False)),
    "hierarchical": (HierarchicalSoftmax(gamma=2.0), along_path),
    "ranknet": (RankNet(gamma=2.0), over_pairs(lambda x: log1pexp(-2 * x))),
    "ranknet sum": (RankNet(gamma=2.0, pairs="sum"), over_pairs(lambda x: log1pexp(-2 * x), mean=False)),
    "hinge": (Hinge(gamma=2.0, margin=0.5), over_pairs(lambda x: max(0, 0.5 - 2 * x))),
    "lambdarank": (LambdaRank(gamma=2.0), lambdas("lambdarank")),
    "lambdarank k=2": (LambdaRank(gamma=2.0, k=2), lambdas("lambdarank", k=2)),
    **{f"lambdaloss {v}": (LambdaLoss(gamma=2.0, variant=v), lambdas(v)) for v in ("1", "2", "2++")},
    **{f"lambdaloss {v} k=2": (LambdaLoss(gamma=2.0, variant=v, k=2), lambdas(v, k=2)) for v in ("1", "2", "2++")},
    "kl": (KLDivergence(gamma=2.0), kl),
    "margin_mse": (MarginMSE(gamma=2.0), margin_mse),
    "siglip": (SigLIPLoss(), siglip),
    "p_listmle": (PositionListMLE(gamma=2.0), p_listmle),
    "approx_mrr": (ApproxMRR(gamma=2.0), approx_mrr),
    "unique_softmax": (UniqueSoftmax(gamma=2.0), unique_softmax),
    "poly1": (PolyOne(gamma=2.0, epsilon=1.5), poly1),
    "supcon": (SupCon(gamma=2.0), supcon),
    "multi_similarity": (MultiSimilarity(beta=5.0), multi_similarity(0.1)),
    "multi_similarity all": (MultiSimilarity(beta=5.0, epsilon=None), multi_similarity(None)),
    "circle": (Circle(scale=3.0), circle),
    "cosent": (CoSENT(gamma=2.0), cosent),
    "gist": (GuidedSoftmax(gamma=2.0, margin=0.3), gist),
    "adr_mse": (ADRMSE(gamma=2.0), adr_mse),
}


def given(loss, labels):
    if isinstance(loss, GuidedSoftmax):
        return {"teacher": guided(labels)}
    if isinstance(loss, TeacherLoss):
        return {"teacher": 0.4 * labels - 1}
    needs = isinstance(loss, (NCE, SampledSoftmax))
    return {"log_expected_count": -0.3 - 0.2 * labels} if needs else {}


def guided(labels):
    """The scores of `guide_of`, which counts the places of a list without its padding."""
    guide = torch.zeros_like(labels)
    for row, of_list in zip(guide, labels, strict=True):
        present = of_list > -7
        row[present] = torch.tensor(guide_of(of_list[present].tolist()), dtype=labels.dtype)
    return guide


def batch(loss, seed=0, lists=8, length=9, ties=False):
    """Random lists of different lengths with an empty one, one of one document, all irrelevant, and all equal."""
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(lists, length, generator=random, dtype=torch.float64)
    labels = torch.randint(0, 4, (lists, length), generator=random).double()
    lengths = torch.randint(2, length + 1, (lists,), generator=random)
    lengths[0], lengths[1] = 0, 1
    labels[2], labels[3] = 0, 2
    mask = torch.arange(length) < lengths[:, None]
    mask = mask.gather(1, torch.rand(lists, length, generator=random).argsort(1))  # gaps, not only a tail
    if ties:
        scores = scores.round()
    labels = labels.clamp(max=getattr(loss, "largest_label", 3))
    return scores.where(mask, torch.nan), labels.where(mask, -7), mask


def by_reference(reference, scores, labels, mask):
    rows = zip(scores, labels, mask, strict=True)
    return [reference(s[m].tolist(), y[m].tolist()) for s, y, m in rows]


def unreduced(loss, reduction="none"):
    loss = copy.deepcopy(loss)
    loss.reduction = reduction
    return loss


@pytest.mark.parametrize("ties", [False, True], ids=["", "ties"])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_loss_is_what_the_double_loop_says(name, ties):
    loss, reference = REFERENCES[name]
    for seed in range(4):
        scores, labels, mask = batch(loss, seed, ties=ties)
        wanted = by_reference(reference, scores, labels, mask)
        found = unreduced(loss)(scores, labels, mask, **given(loss, labels))
        torch.testing.assert_close(found, torch.tensor([cost or 0.0 for cost in wanted], dtype=torch.float64))


GAINS = [name for name in REFERENCES if name.split()[0] in ("approx_ndcg", "neural_ndcg", "lambdarank", "lambdaloss")]


@pytest.mark.parametrize("name", [*GAINS, "softmax gains"])
def test_gains_of_labels_that_no_power_of_float32_holds(name):
    loss, reference = REFERENCES[name]
    scores, labels, mask = batch(loss, seed=5)
    labels = torch.where(mask, 70 * labels + scores.argsort(1).argsort(1), labels)  # from 0 to 218
    wanted = by_reference(reference, scores, labels, mask)
    narrow = torch.nan_to_num(scores).float().requires_grad_()
    found = unreduced(loss)(narrow, labels, mask, **given(loss, labels))
    torch.testing.assert_close(found, torch.tensor([cost or 0.0 for cost in wanted]), rtol=1e-4, atol=1e-5)
    (slopes,) = torch.autograd.grad(found.sum(), narrow)
    assert slopes.isfinite().all()
    counted = torch.tensor([cost is not None for cost in wanted])
    assert (slopes[counted].abs().amax(1) > 0).all()


def test_gains_of_ordinary_labels_are_what_they_were_to_the_bit():
    labels = torch.linspace(-3, 64, 3000).reshape(10, 300)
    before = torch.expm1(labels.clamp(min=0) * torch.log(torch.tensor(2.0)))
    mixed = torch.cat([labels, torch.full((1, 300), 400.0)])  # another list's labels change nothing
    for rows in (labels, mixed):
        found = gains(Lists(torch.zeros_like(rows), rows, torch.ones_like(rows, dtype=torch.bool), full=True))
        assert torch.equal(found[:10], before)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_mean_is_over_the_lists_that_count_and_the_others_are_counted(name):
    loss, reference = copy.deepcopy(REFERENCES[name][0]), REFERENCES[name][1]
    scores, labels, mask = batch(loss)
    wanted = [cost for cost in by_reference(reference, scores, labels, mask) if cost is not None]
    found = loss(scores, labels, mask, **given(loss, labels))
    torch.testing.assert_close(found.item(), sum(wanted) / len(wanted))
    assert loss.skipped == len(scores) - len(wanted) > 0
    total = unreduced(loss, "sum")(scores, labels, mask, **given(loss, labels))
    torch.testing.assert_close(total.item(), sum(wanted))


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "circle"])  # its weights have no gradient
def test_gradients_are_derivatives(name):
    loss = unreduced(REFERENCES[name][0])
    if isinstance(loss, ApproxNDCG):
        loss.floor = 0.0
    scores, labels, mask = batch(loss, seed=3)
    scores = torch.nan_to_num(scores).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, labels, mask, **given(loss, labels)), scores)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_batch_without_a_list_costs_nothing(name):
    loss, _ = REFERENCES[name]
    for shape in ((0, 5), (3, 0), (3, 5)):
        scores, labels = torch.ones(shape, requires_grad=True), torch.zeros(shape)
        value = loss(scores, labels, torch.zeros(shape, dtype=torch.bool), **given(loss, labels))
        assert value.item() == 0
        assert not torch.autograd.grad(value, scores)[0].any()


@pytest.mark.parametrize("name", REFERENCES)
def test_large_scores_stay_finite_in_half_single_and_double_precision(name):
    loss, _ = REFERENCES[name]
    for dtype, size in ((torch.float32, 1e4), (torch.float64, 1e4), (torch.bfloat16, 100.0)):
        scores, labels, mask = batch(loss, seed=1)
        scores = (size * scores.nan_to_num()).to(dtype).requires_grad_()
        value = loss(scores, labels.float(), mask, **given(loss, labels.float()))
        assert value.isfinite()
        assert torch.autograd.grad(value, scores)[0].isfinite().all()


@pytest.mark.gpu
@pytest.mark.parametrize("name", REFERENCES)
def test_a_gpu_finds_what_the_processor_finds(name):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    loss = REFERENCES[name][0]
    columns = batch(loss, seed=2)
    values, slopes = [], []
    for device in ("cpu", "cuda"):
        here = copy.deepcopy(loss)
        here = here.to(device) if isinstance(here, torch.nn.Module) else here
        scores, labels, mask = (column.to(device) for column in columns)
        scores = scores.requires_grad_()
        value = here(scores, labels, mask, **given(loss, labels))
        values.append(value.cpu())
        slopes.append(torch.autograd.grad(value, scores)[0].cpu())
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(slopes[1], slopes[0])


# Pairs and lambdas


@pytest.mark.parametrize("loss", [RankNet(), Hinge(), LambdaRank(), LambdaRank(k=7), LambdaLoss(variant="1")], ids=repr)
def test_blocks_of_pairs_make_no_difference(loss, monkeypatch):
    scores, labels, mask = batch(loss, lists=6, length=40)
    scores = scores.nan_to_num().requires_grad_()
    whole = loss(scores, labels, mask)
    (slope,) = torch.autograd.grad(whole, scores)
    monkeypatch.setattr("nirank_losses.pairs._AT_ONCE", {"cpu": 150})
    monkeypatch.setattr("nirank_losses.pairs._ROWS", 3)
    cut = loss(scores, labels, mask)
    torch.testing.assert_close(cut, whole)
    torch.testing.assert_close(torch.autograd.grad(cut, scores)[0], slope)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_scores_far_apart_or_far_from_zero_cost_what_they_should(offset):
    for loss, reference in ((RankNet(gamma=1.0, pairs="sum"), lambda x: log1pexp(-x)), (Hinge(pairs="sum"), None)):
        for apart in (1.0, 79.0, 81.0, 500.0):
            cost = reference or (lambda x: max(0, 1 - x))
            scores = torch.tensor([[offset, offset + apart, 0.0]], dtype=torch.float64)
            mask = torch.tensor([[True, True, False]])
            value = loss(scores, torch.tensor([[1, 0, 0]]), mask)
            torch.testing.assert_close(value.item(), cost(-apart))


def lambda_by_hand(scores, labels, k=None):
    """Burges 2010: the gradient of each document, from the ranks and the change of nDCG."""
    rank, most = ranks_worst_first(scores, labels), ideal(labels, k)
    gradient = [0.0] * len(scores)
    for i, j in pairs(labels):
        if k is not None and min(rank[i], rank[j]) > k:
            continue
        gains = (2 ** labels[i] - 1) - (2 ** labels[j] - 1)
        change = abs(gains * (1 / math.log2(1 + rank[i]) - 1 / math.log2(1 + rank[j]))) / most
        force = change * sigma(-(scores[i] - scores[j]))
        gradient[i] -= force
        gradient[j] += force
    return gradient


@pytest.mark.parametrize("k", [None, 1, 3])
def test_the_gradient_of_lambdarank_is_lambda(k):
    scores, labels, mask = batch(None, seed=5)
    scores = scores.nan_to_num().requires_grad_()
    value = LambdaRank(k=k, reduction="sum")(scores, labels, mask)
    (found,) = torch.autograd.grad(value, scores)
    for row in range(len(scores)):
        if rankable(labels[row][mask[row]].tolist()):
            wanted = lambda_by_hand(scores[row][mask[row]].tolist(), labels[row][mask[row]].tolist(), k)
            torch.testing.assert_close(found[row][mask[row]].tolist(), wanted)
    assert not found[~mask].any()


@pytest.mark.parametrize("loss", [LambdaRank(k=3), LambdaLoss(k=3), LambdaLoss(k=3, variant="1")], ids=repr)
def test_a_relevant_document_below_the_cut_is_still_pulled_up(loss):
    scores = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(scores, torch.tensor([[0, 0, 0, 0, 1]]), torch.ones(1, 5)), scores)
    assert gradient[0, 4] < 0
    assert (gradient[0, :3] > 0).all()


@pytest.mark.parametrize("loss", [RankNet(), LambdaRank(), LambdaLoss()], ids=repr)
def test_a_pair_that_is_wrong_by_far_has_its_full_gradient(loss):
    gradients = []
    for apart in (100.0, 1e4):
        scores = torch.tensor([[-apart, apart]], requires_grad=True)
        gradients.append(torch.autograd.grad(loss(scores, torch.tensor([[1, 0]]), torch.ones(1, 2)), scores)[0])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0][0, 0] < -0.1


def test_equal_scores_have_lambdas_which_do_not_depend_on_the_order_of_the_list():
    labels, mask = torch.tensor([[0, 2, 0, 1], [1, 0, 2, 0]]), torch.ones(2, 4)
    scores = torch.zeros(2, 4, requires_grad=True)
    value = LambdaRank(reduction="none")(scores, labels, mask)
    (gradient,) = torch.autograd.grad(value.sum(), scores)
    torch.testing.assert_close(value[0], value[1])
    assert gradient[0, 1] < 0
    assert gradient[1, 2] < 0


def test_random_ties_follow_the_seed_and_average_out():
    labels, mask = torch.tensor([[0, 2, 0, 1]] * 3000), torch.ones(3000, 4)
    one, same = LambdaRank(ties="random", seed=3), LambdaRank(ties="random", seed=3)
    values = one(torch.zeros(3000, 4), labels, mask)
    assert values == same(torch.zeros(3000, 4), labels, mask)
    assert values != one(torch.zeros(3000, 4), labels, mask)
    gain, most = {0: 0, 1: 1, 2: 3}, ideal([0, 2, 0, 1])
    orders = list(itertools.permutations([0, 2, 0, 1]))
    costs = [
        math.log(2) * abs((gain[a] - gain[b]) * (1 / math.log2(2 + i) - 1 / math.log2(2 + j))) / most
        for order in orders
        for (i, a), (j, b) in itertools.combinations(enumerate(order), 2)
    ]
    assert values.item() == pytest.approx(sum(costs) / len(orders), rel=0.02)


def test_lambdarank_of_long_lists_needs_little_memory():
    """The loss of lists of 3,000 documents fits where one matrix of their pairs would be 36 MB."""
    scores = torch.randn(2, 3000, requires_grad=True)
    labels = torch.randint(0, 3, (2, 3000))
    profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
    with profile:
        LambdaRank()(scores, labels, torch.ones(2, 3000)).backward()
    kept, most = 0, 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            kept += event.nbytes()
            most = max(most, kept)
    assert 0 < most < 10e6


# Lists


def test_shuffled_ties_of_listmle_follow_the_seed_and_average_to_the_likelihood_of_an_order():
    labels, scores = torch.tensor([[1, 0, 1]] * 4000), torch.tensor([[0.3, -0.2, 0.9]] * 4000)
    one, same = ListMLE(ties="shuffle", seed=1), ListMLE(ties="shuffle", seed=1)
    value = one(scores, labels, torch.ones(4000, 3))
    assert value == same(scores, labels, torch.ones(4000, 3))

    def cost(order):
        return sum(logsumexp(list(order[i:])) - order[i] for i in range(3))

    assert value.item() == pytest.approx((cost([0.3, 0.9, -0.2]) + cost([0.9, 0.3, -0.2])) / 2, rel=0.01)


def test_listmle_without_ties_is_the_likelihood_of_the_right_order():
    scores, labels = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([[2, 0, 1]])
    wanted = sum(logsumexp(rest) - rest[0] for rest in ([0.3, 2.0, -1.0], [2.0, -1.0], [-1.0]))
    for ties in ("together", "shuffle"):
        assert ListMLE(ties=ties)(scores, labels, torch.ones(1, 3)).item() == pytest.approx(wanted)


def test_in_batch_negatives_are_not_harmed_by_a_repeated_document():
    scores = torch.tensor([[3.0, 1.0, 0.5], [0.2, 2.0, 0.1], [1.0, 0.3, 2.5]])
    eye, loss = torch.eye(3), SoftmaxCrossEntropy(reduction="none")
    alone = loss(scores, eye, torch.ones(3, 3), documents=torch.tensor([7, 8, 9]))
    # A fourth query comes with document 7 again: a column that repeats the first.
    wider = torch.cat([scores, scores[:, :1]], 1)
    wider = torch.cat([wider, torch.tensor([[1.5, 0.0, 0.1, 1.5]])])
    together = loss(wider, torch.eye(4), torch.ones(4, 4), documents=torch.tensor([7, 8, 9, 7]))
    torch.testing.assert_close(together[:3], alone)
    wanted = logsumexp([0.0, 0.1, 1.5]) - 1.5
    assert together[3].item() == pytest.approx(wanted)


def test_of_repeated_documents_the_one_of_the_highest_label_counts():
    ids, mask = torch.tensor([[5, 5, 5, 6, 6]]), torch.tensor([[True, True, True, False, True]])
    labels = torch.tensor([[0.0, 2.0, 2.0, 9.0, 0.0]])
    assert repeated(ids, labels, mask).tolist() == [[True, False, True, False, False]]


# Distances


def test_contrastive_pulls_what_is_labelled_1_and_pushes_the_rest_up_to_the_margin():
    scores = torch.tensor([[0.5, 0.9, 0.1]], requires_grad=True)
    (gradient,) = torch.autograd.grad(Contrastive()(scores, torch.tensor([[1, 0, 0]]), torch.ones(1, 3)), scores)
    assert gradient[0, 0] < 0
    assert gradient[0, 1] > 0
    assert gradient[0, 2] == 0


@pytest.mark.parametrize("loss", [Contrastive, Triplet])
def test_distances_are_made_from_scores_as_is_said(loss):
    vectors = torch.nn.functional.normalize(torch.randn(2, 6, 4), dim=-1)
    cosines = (vectors[:, :1] * vectors).sum(-1)
    apart = (vectors[:, :1] - vectors).norm(dim=-1)
    labels, mask = torch.tensor([[1, 0, 1, 0, 0, 1]] * 2), torch.ones(2, 6)
    euclidean = loss(distance="euclidean")(cosines, labels, mask)
    torch.testing.assert_close(euclidean, loss(distance="negated")(-apart, labels, mask), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(loss()(cosines, labels, mask), loss(distance="negated")(cosines - 1, labels, mask))


def test_the_euclidean_distance_has_a_gradient_where_it_is_zero():
    scores = torch.ones(1, 2, requires_grad=True)
    value = Contrastive(distance="euclidean")(scores, torch.tensor([[1, 0]]), torch.ones(1, 2))
    assert torch.autograd.grad(value, scores)[0].isfinite().all()


# Classes and labels


def test_cross_entropy_is_over_the_classes_of_each_document():
    scores = torch.randn(3, 5, 7, dtype=torch.float64, requires_grad=True)
    labels, mask = torch.randint(0, 7, (3, 5)), torch.rand(3, 5) < 0.7
    mask[0], mask[1] = False, True
    found = CrossEntropy(gamma=2.0, reduction="none")(scores, labels.where(mask, 99), mask)
    assert found[0] == 0
    for row in (1, 2):
        own = [
            logsumexp((2 * s).tolist()) - 2 * s[y].item()
            for s, y in zip(scores[row][mask[row]], labels[row][mask[row]], strict=True)
        ]
        assert found[row].item() == pytest.approx(sum(own) / max(1, len(own)))
    loss = CrossEntropy(gamma=2.0)
    assert torch.autograd.gradcheck(lambda s: loss(s, labels, mask), scores)


def test_documents_or_lists_can_weigh_the_same():
    scores, labels, mask = batch(None)
    loss = MeanSquaredError(weigh="documents")
    assert loss(scores, labels, mask).item() == pytest.approx((scores - labels)[mask].square().mean().item())


def test_thresholds_are_learned_and_stay_in_order():
    torch.manual_seed(0)
    loss = Ordinal(grades=4)
    scores, labels = torch.randn(20, 10), torch.randint(0, 4, (20, 10))
    steps = torch.optim.SGD(loss.parameters(), lr=0.1)
    before = loss(scores, labels, torch.ones(20, 10)).item()
    for _ in range(20):
        steps.zero_grad()
        loss(scores, labels, torch.ones(20, 10)).backward()
        steps.step()
    assert loss(scores, labels, torch.ones(20, 10)).item() < before
    assert (loss.thresholds.diff() > 0).all()
    assert not any(parameter.requires_grad for parameter in Ordinal(learned=False).parameters())


@pytest.mark.parametrize(
    ("loss", "label"), [(BinaryCrossEntropy(), 2.0), (BinaryCrossEntropy(), -1.0), (Ordinal(), 1.5), (Ordinal(), 5.0)]
)
def test_labels_that_mean_nothing_are_refused(loss, label):
    with pytest.raises(BadInput, match=f"a label is {label:g}"):
        loss(torch.zeros(1, 2), torch.tensor([[label, 0.0]]), torch.ones(1, 2))


def test_wrong_shapes_and_settings_are_refused():
    ones = torch.ones(2, 3)
    with pytest.raises(BadInput, match=r"shape of labels is \(2, 4\)"):
        RankNet()(ones, torch.ones(2, 4), ones)
    with pytest.raises(BadInput, match=r"shape of mask is \(3,\)"):
        RankNet()(ones, ones, torch.ones(3))
    with pytest.raises(BadInput, match="int64"):
        RankNet()(ones.long(), ones, ones)
    with pytest.raises(BadInput, match="teacher has the shape"):
        KLDivergence()(ones, ones, ones, teacher=torch.ones(2, 4))
    with pytest.raises(BadInput, match="one score for each class"):
        CrossEntropy()(ones, ones, ones)
    with pytest.raises(BadInput, match="reduction = 'average'"):
        RankNet(reduction="average")
    with pytest.raises(BadInput, match="k = 0"):
        LambdaRank(k=0)
    with pytest.raises(BadInput, match="ListNet: gamma = 'warm'"):
        ListNet(gamma="warm")


# Teachers


def test_labels_are_the_teacher_where_there_is_no_other():
    scores, labels, mask = torch.randn(3, 4), torch.randn(3, 4), torch.ones(3, 4)
    for loss in (KLDivergence(), MarginMSE()):
        assert loss(scores, labels, mask) == loss(scores, labels, mask, teacher=labels)
        assert loss(labels, labels, mask).item() == pytest.approx(0, abs=1e-6)


def test_the_divergence_can_be_rescaled_by_the_square_of_the_temperature():
    scores, labels, mask = torch.randn(3, 4), torch.randn(3, 4), torch.ones(3, 4)
    plain, scaled = (KLDivergence(gamma=0.5, rescale=rescale)(scores, labels, mask) for rescale in (False, True))
    torch.testing.assert_close(4 * plain, scaled)


# Images and captions


def test_clip_is_the_cross_entropy_both_ways():
    scores = torch.nn.functional.normalize(torch.randn(6, 6), dim=1)
    loss = CLIPLoss()
    target = torch.arange(6)
    cross_entropy = torch.nn.functional.cross_entropy
    wanted = (cross_entropy(scores / 0.07, target) + cross_entropy(scores.T / 0.07, target)) / 2
    torch.testing.assert_close(loss(scores, torch.eye(6), torch.ones(6, 6)), wanted)


def test_the_scale_of_clip_is_learned_within_its_bounds_and_comes_back_from_them():
    loss = CLIPLoss(scale=5000.0)
    assert loss.gamma.item() == pytest.approx(100)
    loss(-torch.eye(3), torch.eye(3), torch.ones(3, 3)).backward()
    assert loss.log_scale.grad > 0  # smaller is better: what is at the bound is not stuck there


def test_queries_and_documents_that_come_twice_are_not_their_own_negatives():
    scores, ids = torch.randn(4, 4), torch.tensor([1, 2, 3, 4])
    wide = torch.cat([torch.cat([scores, scores[:, :1]], 1), torch.cat([scores[:1], scores[:1, :1]], 1)])
    again = torch.tensor([1, 2, 3, 4, 1])
    loss = CLIPLoss(reduction="none")
    alone = loss(scores, torch.eye(4), torch.ones(4, 4), documents=ids, queries=ids)
    together = loss(wide, torch.eye(5), torch.ones(5, 5), documents=again, queries=again)
    torch.testing.assert_close(together[:4], alone[:4])
    torch.testing.assert_close(together[6:9], alone[5:])
    for found in (
        CLIPLoss(reduction="none")(wide, torch.eye(5), torch.ones(5, 5)),
        SigLIPLoss(reduction="none")(wide, torch.eye(5), torch.ones(5, 5)),
    ):
        assert found.isfinite().all()


# Registration


def test_every_loss_is_registered_under_its_name():
    for module, losses in nirank_losses._LOSSES.items():
        for name, class_name in losses.items():
            loss = build(f"loss/{name}")
            assert type(loss.target) is getattr(importlib.import_module(f"nirank_losses.{module}"), class_name)
            assert loss.target.skipped == 0
    assert build("loss/lambdarank", {"k": 10}).target.k == 10
    with pytest.raises(BadInput, match="reduction"):
        build("loss/lambdarank", {"reduction": "median"})


def test_lists_are_cleared_behind_the_mask():
    lists = Lists.of(torch.tensor([[1.0, torch.nan]]), torch.tensor([[1, -9]]), torch.tensor([[1, 0]]))
    assert lists.scores.tolist() == [[1.0, 0.0]]
    assert lists.labels.tolist() == [[1.0, 0.0]]
    assert lists.lengths.tolist() == [1]

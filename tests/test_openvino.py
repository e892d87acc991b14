"""Graphs of OpenVINO: what cannot be compiled is left to torch, or refused where it was asked for."""

from __future__ import annotations

import copy
import threading
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("openvino")

from nirank.errors import BadInput  # noqa: E402
from nirank.kit import Fast, Graph, evenly, quantised, side_by_side, transformers  # noqa: E402


class Sums(torch.nn.Module):
    """A linear layer on rows; `kept` freezes what it has seen when it was traced."""

    def __init__(self, kept: bool = False) -> None:
        super().__init__()
        self.layer, self.kept = torch.nn.Linear(4, 2), kept
        self.eval()

    def forward(self, rows):
        if self.kept:
            rows = rows + rows.sum().item()  # a number to the tracer
        return self.layer(rows)


def _fast(network, runtime, worth=0):
    examples = {"rows": torch.ones(2, 4)}, {"rows": torch.arange(12.0).view(3, 4)}
    return Fast(network, lambda network, inputs: network(inputs["rows"]), lambda: examples, runtime, worth)


def test_a_graph_computes_what_torch_does_for_work_that_is_worth_it():
    network = Sums()
    fast = _fast(network, None, worth=10)
    rows = torch.arange(20.0).view(5, 4)
    with torch.no_grad():
        assert fast.graph(9) is None
        graph = fast.graph(10)
        np.testing.assert_allclose(graph({"rows": rows}), network(rows), rtol=1e-5)
        assert fast.graph(10) is graph
        network.layer.weight.mul_(2)
        np.testing.assert_allclose(fast.graph(10)({"rows": rows}), network(rows), rtol=1e-5)
        assert fast.graph(10) is not graph
        assert copy.deepcopy(fast).compiled is None
    assert fast.graph(10) is None  # gradients are wanted
    with torch.no_grad():
        network.train()
        assert fast.graph(10) is None


def test_what_one_call_returns_is_not_changed_by_the_next():
    fast = _fast(Sums(), "openvino")
    with torch.no_grad():
        first = fast.graph(1)({"rows": torch.ones(1, 4)})
        kept = first.clone()
        fast.graph(1)({"rows": torch.zeros(1, 4)})
    assert torch.equal(first, kept)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def _graph(network, at_once=True):
    given = {"rows": torch.ones(2, 4)}
    return Graph(network, lambda network, inputs: network(inputs["rows"]), given, at_once=at_once)


def test_passes_side_by_side_are_those_one_after_another(three_threads):
    network, parts = Sums(), [torch.full((rows, 4), float(rows)) for rows in (5, 1, 9, 2, 2, 7, 1, 3)]
    graph, threads = _graph(network), set()
    assert graph.streams == 3

    def work(part):
        threads.add(threading.get_ident())
        assert not torch.is_grad_enabled()
        return graph({"rows": part})

    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            found = side_by_side(graph, work, iter(parts))
            assert [len(part) for part in found] == [len(part) for part in parts]
            assert torch.equal(torch.cat(found), torch.cat([graph({"rows": part}) for part in parts]))
            assert found[0].is_inference() == torch.ones(1).is_inference()
    assert threading.get_ident() not in threads


def test_what_cannot_be_done_side_by_side_is_done_here(three_threads):
    here, network = [threading.get_ident()], Sums()
    assert _graph(network, at_once=False).streams == 1
    for graph, parts in ((None, [1, 2]), (_graph(network, at_once=False), [1, 2]), (_graph(network), [1])):
        assert side_by_side(graph, lambda part: threading.get_ident(), parts) == here * len(parts)
    assert side_by_side(_graph(network), len, []) == []


def test_an_error_of_one_pass_is_that_of_all(three_threads):
    done = []

    def work(part):
        if part == 2:
            raise BadInput("of the second")
        done.append(part)
        return part

    with pytest.raises(BadInput, match="of the second"):
        side_by_side(_graph(Sums()), work, range(200))
    assert len(done) < 199


def test_streams_have_about_as_much_to_do(three_threads):
    graph, lengths = _graph(Sums()), np.random.default_rng(0).integers(20, 60, 400)
    for count in (20, 60, 100, 400):
        some, streams = lengths[:count], np.zeros(3)
        for places in transformers.passes(some, count, evenly(graph, some, 1024)):
            streams[streams.argmin()] += some[places].sum()  # the next pass is begun by the first that is done
        assert streams.max() < 1.3 * some.sum() / 3
    assert evenly(graph, np.array([5, 4, 3]), 1024) == 128 + 0  # so few are not worth a pass each
    assert evenly(None, lengths, 1024) == evenly(_graph(Sums(), at_once=False), lengths, 1024) == 1024
    assert evenly(graph, lengths[:0], 1024) == 1024


def test_a_network_that_a_graph_gets_wrong_is_left_to_torch_and_told(caplog):
    fast = _fast(Sums(kept=True), None)
    with torch.no_grad():
        assert fast.graph(1) is None
        assert fast.graph(1) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "does not compute Sums as torch does" in caplog.text
    with torch.no_grad(), pytest.raises(BadInput, match="does not compute Sums"):
        _fast(Sums(kept=True), "openvino").graph(1)


def test_layers_in_8_bits_compute_the_equation_of_integers():
    """Against `Y = (X / f) (f W)` in numpy, both factors rounded."""
    network = torch.nn.Linear(6, 3, bias=False).eval()
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 1, 9, 1, 0.1, 1])
    rows = rows.view(4, 10, 6)
    with torch.no_grad():
        fast = Fast(network, lambda layer, inputs: layer(inputs["rows"]), lambda: ({"rows": rows[:2]}, {"rows": rows}),
                    "openvino", 0, "int8", lambda: [{"rows": rows[:2]}, {"rows": rows[2:]}])  # fmt: skip
        found = fast.graph(1)({"rows": rows})
    expected = _in_integers(rows.view(40, 6).numpy(), network.weight.detach().numpy())
    np.testing.assert_allclose(found.view(40, 3), expected, atol=1e-5)
    assert np.abs(expected - network(rows).view(40, 3).detach().numpy()).max() > 1e-3


def _in_integers(rows, weights):
    spread, others = np.abs(rows).max(0), np.abs(weights).max(0)
    factors = 2 ** np.round(np.log2(spread**0.8 / others**0.2))
    divided, scaled = rows / factors, weights * factors
    step = float(f"{(divided.max() - divided.min()) / 255:.3g}")
    zero, scales = round(-divided.min() / step), np.abs(scaled).max(1) / 127
    texts = np.clip(np.round(divided / step) + zero, 0, 255) - zero  # integers, less that of 0
    return texts @ np.round(scaled / scales[:, None]).T * step * scales


def test_sums_of_the_largest_integers_are_right_on_any_processor_and_it_is_told_where_they_take_longer(caplog):
    """Where two products are added up in 16 bits the largest are too large for them."""
    found, exact = _largest()
    np.testing.assert_allclose(found, exact, rtol=0.01)
    assert ("in float32, which is no faster" in caplog.text) != quantised.adds_up_exactly()


def test_integers_multiplied_as_float32_are_those_multiplied_in_8_bits(monkeypatch):
    monkeypatch.setattr(quantised, "_multiply", quantised._multiply_as_floats)
    quantised.adds_up_exactly.cache_clear()
    assert quantised.adds_up_exactly()  # now by floats, on any processor
    test_layers_in_8_bits_compute_the_equation_of_integers()
    quantised.adds_up_exactly.cache_clear()


def _largest():
    """The layer of the largest weights and numbers, in 8 bits and in float32."""
    network = torch.nn.Linear(64, 16, bias=False).eval()
    with torch.no_grad():
        network.weight.copy_(1 - torch.rand(16, 64, generator=torch.Generator().manual_seed(0)) / 50)
        rows = torch.full((2, 8, 64), 3.0)
        fast = Fast(network, lambda layer, inputs: layer(inputs["rows"]), lambda: ({"rows": rows}, {"rows": rows}),
                    "openvino", 0, "int8", lambda: [{"rows": rows}])  # fmt: skip
        return fast.graph(1)({"rows": rows}), network(rows)


@pytest.mark.parametrize(("wanted", "used", "is_told"), [
    ("bfloat16", "f32", True), ("bfloat16", "bf16", False), ("float32", "f32", False), ("int8", "f32", False),
])  # fmt: skip
def test_a_processor_without_bfloat16_is_told_of(wanted, used, is_told, caplog):
    graph = object.__new__(Graph)
    kind = SimpleNamespace(to_string=lambda: used)
    graph._model = SimpleNamespace(get_property={"INFERENCE_PRECISION_HINT": kind}.__getitem__)
    graph.tell_precision(wanted)
    assert ("no instructions for bfloat16: OpenVINO computes in f32" in caplog.text) == is_told


@pytest.mark.parametrize(("precision", "supported", "is_told"), [
    ("bfloat16", False, True), ("bfloat16", True, False), ("float32", False, False), ("float16", False, True),
])  # fmt: skip
def test_a_precision_that_torch_has_no_instructions_for_is_told_once(
    precision, supported, is_told, monkeypatch, caplog
):
    answers = dict.fromkeys(("_is_mkldnn_bf16_supported", "_is_mkldnn_fp16_supported"), lambda: supported)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**answers))
    transformers.tell_of_slow.cache_clear()
    for _ in range(2):
        assert transformers.Computing("cpu", precision).dtype == getattr(torch, precision)
    assert transformers.Computing("cuda", precision).dtype == getattr(torch, precision)
    assert caplog.text.count("has no instructions for") == int(is_told)
    transformers.tell_of_slow.cache_clear()

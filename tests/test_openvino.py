"""Graphs of OpenVINO: what cannot be compiled is left to torch, or refused where it was asked for."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("openvino")

from nirank.errors import BadInput  # noqa: E402
from nirank.kit import Fast  # noqa: E402


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


def test_a_network_that_a_graph_gets_wrong_is_left_to_torch_and_told(caplog):
    fast = _fast(Sums(kept=True), None)
    with torch.no_grad():
        assert fast.graph(1) is None
        assert fast.graph(1) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "does not compute Sums as torch does" in caplog.text
    with torch.no_grad(), pytest.raises(BadInput, match="does not compute Sums"):
        _fast(Sums(kept=True), "openvino").graph(1)

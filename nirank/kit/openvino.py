"""Networks computed by OpenVINO, which on a CPU takes less time than torch and gives the same to about 1e-6.

A graph is traced from the weights in memory, in about a second, and compiled for a precision that is always said: left
to itself OpenVINO takes bfloat16 where the processor has it. Weights may change afterwards (training): then it is
traced anew. In int8 linear layers multiply integers (`nirank.kit.quantised`), and all else is float32.
"""

from __future__ import annotations

import logging
import queue
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.errors import BadInput, MissingDependency
from nirank.kit import quantised
from nirank.kit.described import Described
from nirank.kit.quiet_openvino import import_openvino, openvino_installed
from nirank.kit.transformers import Computing, Precision, quiet

Runtime = Literal["torch", "openvino"]
#: What is computed: a tensor, of a network and of tensors by name.
Function: TypeAlias = Callable[[Any, dict[str, Tensor]], Tensor]
#: Makes two such inputs, of different sizes.
Examples: TypeAlias = Callable[[], tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]
#: Makes the inputs by which the ranges of numbers are found for int8.
Calibration: TypeAlias = Callable[[], Iterable[Mapping[str, Tensor]]]

_Part = TypeVar("_Part")
_Found = TypeVar("_Found")
#: Passes that are computed side by side at most, each by its share of the threads. More were not tried.
_STREAMS = 4
#: Tokens, at least, of a pass that is made smaller so that there is one for each stream.
_LEAST = 128

#: Tokens that take a transformer longer in torch, at once, than its graph takes to be compiled.
WORTH_COMPILING = 12_000

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
#: What a graph may be apart from torch in float32, of the largest number: much more than it is where it is right.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.1}
#: The same for int8, of the length of all numbers together.
_TOLERANCE_INT8 = 0.3

log = logging.getLogger("nirank")


class Graph:
    """`function` of a network, compiled; weights are those at the time.

    `example` has the inputs by name, in sizes that do not matter: the graph takes others. `usual` inputs are for int8:
    the ranges of numbers are those that they bring about. Of a graph that is called `at_once` several passes are
    computed side by side (`side_by_side`), in as many `streams`, and one alone by a share of the threads.
    """

    def __init__(
        self,
        network: nn.Module,
        function: Function,
        example: Mapping[str, Tensor],
        precision: Precision = "float32",
        usual: Sequence[Mapping[str, Tensor]] | None = None,
        at_once: bool = False,
    ) -> None:
        self._network, self._stamp, self._names = network, _stamp(network), list(example)
        self.streams = min(torch.get_num_threads(), _STREAMS) if at_once else 1
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": self.streams,
        }
        graph = trace(network, function, example, "output")
        if usual is not None:
            quantised.quantise(graph, quantised.ranges_of(graph, usual, settings))
            if not quantised.adds_up_exactly():
                log.warning(
                    "This processor has no instructions to add up products of bytes exactly (VNNI): in int8 vectors "
                    "are what they are elsewhere, and computed in float32, which is no faster than precision = "
                    "'float32'."
                )
        self._model = import_openvino("openvino").Core().compile_model(graph, "CPU", settings)
        self.tell_precision(precision)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def tell_precision(self, wanted: Precision) -> None:
        """Tell where OpenVINO computes in float32 what was wanted in half precision, as it does without a word."""
        used = self._model.get_property("INFERENCE_PRECISION_HINT").to_string()
        if used != _PRECISIONS[wanted]:
            log.warning(
                "This processor has no instructions for %s: OpenVINO computes in %s, which is no faster than "
                "precision = 'float32'.", wanted, used,
            )  # fmt: skip

    @property
    def fits(self) -> bool:
        """True while the weights of the network are those that were compiled."""
        return self._stamp == _stamp(self._network)

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The function of these inputs, float32."""
        given = [inputs[name].numpy() for name in self._names]
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._model.create_infer_request()
        try:
            return torch.from_numpy(request.infer(given, share_inputs=True)[0])
        finally:
            self._idle.put(request)


def side_by_side(graph: Graph | None, work: Callable[[_Part], _Found], parts: Iterable[_Part]) -> list[_Found]:
    """`work` on each part, in their order; what is computed by a graph, as many at once as it has streams.

    Threads of one product wait for one another at its end, and much longer where something else runs on a core; those
    of parts do not.
    """
    parts = list(parts)
    if graph is None or min(graph.streams, len(parts)) < 2:
        return [work(part) for part in parts]
    inference = torch.is_inference_mode_enabled()

    def alone(part: _Part) -> _Found:
        with torch.inference_mode(inference), torch.no_grad():  # which every thread has for itself
            return work(part)

    with ThreadPoolExecutor(graph.streams) as pool:
        try:
            return list(pool.map(alone, parts))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def evenly(graph: Graph | None, lengths: NDArray[np.int64], budget: int) -> int:
    """The tokens of a pass, at most `budget`, by which the streams of a graph have equally many passes of texts."""
    if graph is None or graph.streams < 2 or not len(lengths):
        return budget
    total = int(lengths.sum())
    rounds = -(-total // (graph.streams * budget))
    return min(budget, max(_LEAST, -(-total // (graph.streams * rounds)) + int(lengths.max())))


class Fast:
    """The choice between torch and a graph for `function` of a network; the graph is compiled at first use.

    `runtime` is what computes where gradients are not wanted; None is OpenVINO for work of which there is at least
    `worth`, in whatever work is counted in: less would take no longer in torch than a graph takes to be compiled. The
    first of the `examples` is traced, and of the second, in other sizes, the graph has to compute what torch does. For
    int8 `calibration` gives inputs as they will be; the last of them has to come out near to what torch computes. With
    `at_once` passes are computed side by side, for which `side_by_side` has to call the graph.
    """

    def __init__(
        self,
        network: nn.Module,
        function: Function,
        examples: Examples,
        runtime: Runtime | None,
        worth: int,
        precision: Precision = "float32",
        calibration: Calibration | None = None,
        at_once: bool = False,
    ) -> None:
        self.at_once = at_once
        self.network, self.function, self.examples = network, function, examples
        self.runtime, self.worth, self.precision = runtime, worth, precision
        self.calibration = calibration
        self.compiled: Graph | None = None

    def graph(self, work: int) -> Graph | None:
        """The graph that computes this much; None is torch.

        A network that cannot be compiled is left to torch from then on, with a warning. Raises `BadInput` for one where
        OpenVINO was asked for.
        """
        if self.runtime == "torch" or self.network.training or torch.is_grad_enabled():
            return None
        if self.runtime is None and work < self.worth:
            return None
        if self.compiled is None or not self.compiled.fits:
            self.compiled = self._compile()
        return self.compiled

    def _compile(self) -> Graph | None:
        traced, tried = self.examples()
        try:
            usual = None if self.calibration is None else [*self.calibration()]
            graph = Graph(self.network, self.function, traced, self.precision, usual, self.at_once)
            if usual is None:
                self._compare(graph, tried)
            else:
                self._compare_rounded(graph, usual[-1])
        except MissingDependency:
            raise
        except Exception as error:  # of the tracer, of OpenVINO, or of the comparison
            message = f"OpenVINO does not compute {type(self.network).__name__} as torch does: {error}"
            if self.runtime == "openvino":
                raise BadInput(f"{message}. Set runtime = 'torch', or another precision.") from error
            log.warning("%s; torch computes it.", message)
            self.runtime = "torch"
            return None
        return graph

    def _compare(self, graph: Graph, inputs: Mapping[str, Tensor]) -> None:
        expected, found = self.function(self.network, dict(inputs)), graph(inputs)
        apart, most = (found - expected).abs().max().item(), expected.abs().max().item()
        if self.precision != "float32":
            most = max(most, 1.0)  # a logit near 0 is a difference of larger numbers
        if not apart <= _TOLERANCE[self.precision] * most:
            raise ArithmeticError(f"results differ by up to {apart:.1e}, of values up to {most:.1e}")

    def _compare_rounded(self, graph: Graph, inputs: Mapping[str, Tensor]) -> None:
        expected, found = self.function(self.network, dict(inputs)), graph(inputs)
        apart = float((found - expected).norm() / expected.norm())
        if not apart <= _TOLERANCE_INT8:
            raise ArithmeticError(f"in 8 bits results differ by {apart:.0%}, of at most {_TOLERANCE_INT8:.0%}")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "compiled": None}  # a copy compiles its own


def choose_runtime(runtime: Runtime | None, device: str, precision: Precision, half: bool = False) -> Runtime | None:
    """The runtime of a network in float32 on a CPU, where `half` also in bfloat16; any other is left to torch.

    None is for either, as the work is worth it. In bfloat16, where the two round differently, it is OpenVINO wherever
    that is installed.

    Raises `BadInput` where OpenVINO is asked for and is not used, `MissingDependency` where it is not installed.
    """
    usable = device == "cpu" and (precision == "float32" or (half and precision == "bfloat16"))
    if runtime == "openvino":
        if not usable:
            known = "float32 or bfloat16" if half else "float32"
            raise BadInput(
                f"runtime = 'openvino' works for {known} on the CPU, not for {precision} on {device}: "
                "set runtime = 'torch'."
            )
        import_openvino("openvino")
    usual: Runtime | None = None if precision == "float32" else "openvino"
    return runtime or (usual if usable and openvino_installed() else "torch")


def kept_in(runtime: Runtime | None, computing: Computing) -> torch.dtype:
    """The type of the weights: float32 for OpenVINO, which rounds by itself, and else that of the precision."""
    dtype: torch.dtype = torch.float32 if runtime == "openvino" else computing.dtype
    return dtype


def refuse_modules(runtime: Runtime | None, described: Described) -> None:
    """Raise `BadInput` where OpenVINO is asked for a model that sentence-transformers puts together and runs."""
    if runtime == "openvino":
        kinds = ", ".join(described.kinds)
        raise BadInput(f"{described.model!r} is made of modules ({kinds}), which torch computes: leave runtime out.")


def token_states(transformer: Any, inputs: dict[str, Tensor]) -> Tensor:
    """The vectors of tokens that a transformer makes, `[texts, tokens, width]`."""
    found: Tensor = transformer(**inputs, return_dict=True).last_hidden_state
    return found


def token_examples(
    names: Iterable[str] = ("input_ids", "attention_mask"),
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two texts of eight tokens, and three of five and fewer, as inputs of a transformer with these names."""
    numbers, mask = torch.arange(15).view(3, 5) % 7, torch.ones(3, 5, dtype=torch.long)
    mask[1, 3:] = 0
    padded = {"input_ids": numbers, "attention_mask": mask, "token_type_ids": torch.zeros_like(mask)}
    return {name: torch.ones(2, 8, dtype=torch.long) for name in names}, {name: padded[name] for name in names}


def trace(network: nn.Module, function: Function, example: Mapping[str, Tensor], output: str) -> Any:
    """A model of OpenVINO, whose inputs have the names of `example`; it shares the memory of the weights."""
    frontends, tracing = import_openvino("openvino.frontend"), import_openvino("openvino.frontend.pytorch.ts_decoder")
    with _evaluating(network), quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the tracer says of conditions on shapes: tests try other shapes
        called = _Called(network, function, list(example)).eval()
        given = tuple(tensor.to(next(network.parameters()).device) for tensor in example.values())
        decoder = tracing.TorchScriptPythonDecoder(called, example_input=given)
    frontend = frontends.FrontEndManager().load_by_framework("pytorch")
    graph = frontend.convert(frontend.load(decoder))
    for port, name in zip([*graph.inputs, *graph.outputs], [*example, output], strict=True):
        port.get_tensor().set_names({name})
    return graph


class _Called(nn.Module):
    """A network under a function as one of tensors in a row, which can be traced."""

    def __init__(self, network: nn.Module, function: Function, names: list[str]) -> None:
        super().__init__()
        self.network, self.function, self.names = network, function, names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self.network, dict(zip(self.names, inputs, strict=True)))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Without dropout and gradients, whatever mode the module is in."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def _stamp(network: nn.Module) -> int:
    """Changes whenever a weight is written to."""
    return sum(parameter._version for parameter in network.parameters())

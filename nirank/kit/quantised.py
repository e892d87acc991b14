"""Graphs of OpenVINO whose linear layers multiply integers of 8 bits, without training.

A layer `Y = X W` becomes `Y = (X / f) (f W)`, where both factors are rounded: weights to -127 ... 127, with a scale for
each output, and numbers of a text to 0 ... 255, with one range for all. The factors `f` of channels, powers of 2 here,
put some of the spread of `X` into `W`, which has a scale of its own for each column anyway (SmoothQuant, Xiao et al.,
ICML 2023, equation 4).

Ranges are those that fixed texts bring about, and no matter of what is encoded: what becomes of a text depends on that
text and the model alone, and sums of integers are exact in any order. Ranges are kept in the cache, by the weights.

OpenVINO computes such layers in integers where a graph says `FakeQuantize` before them and has weights as integers.

Instructions: VNNI of x86-64, or those that add up as exactly. A processor that has AVX2 and no more adds up two
products in 16 bits, which they overflow: the largest number stands in for the sum, without a word. So sums are tried,
and where they are wrong the same integers are multiplied as float32, which holds them: that is right, and no faster.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.files import beside, cache_folder
from nirank.hashing import weights_digest
from nirank.kit.quiet_openvino import import_openvino

if TYPE_CHECKING:
    from torch import Tensor

#: The smallest and the largest number of each channel of a layer's input, `[2, channels]`.
Range = NDArray[np.float32]

#: Weights int8 `[outputs, channels]`, and the scale of each output, float32 `[outputs, 1]`.
Integers: TypeAlias = tuple[NDArray[np.int8], NDArray[np.float32]]

#: Of ranges that are kept, and of what is made of them: part of fingerprints.
VERSION = 1
#: How much of the spread of a channel goes into the weights: exponent alpha of equation 4.
_SHARE = 0.8
#: What a number, or a scale, is at least, so that none is divided by 0.
_LEAST = 1e-5
_LEVELS, _LARGEST_WEIGHT = 256, 127

log = logging.getLogger("nirank")


def quantise(graph: Any, ranges: Sequence[Range]) -> None:
    """Let the linear layers of a graph multiply integers, within the ranges of their inputs (`ranges_of`)."""
    multiply = _multiply if adds_up_exactly() else _multiply_as_floats
    for (source, layers), spread in zip(_layers(graph).items(), ranges, strict=True):
        weights = [_constant(layer).data.astype(np.float32) for layer in layers]  # each [outputs, channels]
        factors = _factors(spread, weights)
        multiply(layers, source, factors, spread, [_integers(each * factors) for each in weights])


@functools.cache
def adds_up_exactly() -> bool:
    """Try whether OpenVINO adds up products of the largest integers rightly on this processor."""
    nodes, rows, channels = import_openvino("openvino.opset13"), 8, 64
    given = nodes.parameter([1, rows, channels], np.float32)
    integers = np.full((channels, channels), _LARGEST_WEIGHT, np.int8), np.ones((channels, 1), np.float32)
    layer = nodes.matmul(given, nodes.constant(np.zeros((channels, channels), np.float32)), False, True)
    graph, openvino = import_openvino("openvino").Model([layer], [given]), import_openvino("openvino")
    largest = _LEVELS - 1.0
    spread = np.stack([np.zeros(channels, np.float32), np.full(channels, largest, np.float32)])
    _multiply([layer], given.output(0), np.ones(channels, np.float32), spread, [integers])
    model = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = model(np.full((1, rows, channels), largest, np.float32))[0]
    return bool((found == largest * _LARGEST_WEIGHT * channels).all())


def ranges_of(graph: Any, inputs: Sequence[Mapping[str, Tensor]], settings: Mapping[str, Any]) -> list[Range]:
    """The range of each input of linear layers, one after another, while a graph in float32 computes these inputs.

    They are read from the cache, or found and kept there for the next process.
    """
    path = cache_folder() / "ranges" / f"{_digest(graph, inputs)}.npz"
    with suppress(OSError, ValueError, KeyError), np.load(path, allow_pickle=False) as kept:
        return [kept[str(place)] for place in range(len(kept.files))]
    ranges = _found(graph, inputs, settings)
    try:
        with beside(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **{str(place): each for place, each in enumerate(ranges)})  # type: ignore[arg-type]
    except OSError as error:  # every process finds them anew
        log.debug("Ranges of numbers cannot be kept in %s: %s", path.parent, error)
    return ranges


def _found(graph: Any, inputs: Sequence[Mapping[str, Tensor]], settings: Mapping[str, Any]) -> list[Range]:
    watched, before = graph.clone(), len(graph.outputs)
    watched.add_outputs(list(_layers(watched)))
    request = import_openvino("openvino").Core().compile_model(watched, "CPU", settings).create_infer_request()
    found: list[Range] = []
    for given in inputs:
        results = request.infer({name: tensor.numpy() for name, tensor in given.items()})
        seen = [_spread(results[place]) for place in range(before, len(watched.outputs))]
        found = [_joined(*both) for both in zip(found, seen, strict=True)] if found else seen
    return found


def _digest(graph: Any, inputs: Sequence[Mapping[str, Tensor]]) -> str:
    """A hash of all that ranges depend on: what the graph does, its weights, and its inputs."""
    hashed = hashlib.blake2b(f"{VERSION} {importlib.metadata.version('openvino')}".encode(), digest_size=16)
    for node in graph.get_ordered_ops():
        hashed.update(f"{node.get_type_name()} {sorted(node.get_attributes().items())}".encode())
        if node.get_type_name() == "Constant":
            hashed.update(np.ascontiguousarray(node.data).tobytes())
    for place, given in enumerate(inputs):
        hashed.update(weights_digest({f"{place} {name}": tensor for name, tensor in given.items()}).encode())
    return hashed.hexdigest()


def _layers(graph: Any) -> dict[Any, list[Any]]:
    """The linear layers of tokens, by what is multiplied with their weights, in the order of the graph.

    Others, such as a head on one vector a text, are few products; and OpenVINO 2026.4 computes them wrong where what
    is multiplied has 2 dimensions and a factor for each channel.
    """
    found: dict[Any, list[Any]] = {}
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "MatMul" and _is_linear(node) and node.get_input_partial_shape(0).rank == 3:
            found.setdefault(node.input(0).get_source_output(), []).append(node)
    return found


def _constant(layer: Any) -> Any:
    return layer.input(1).get_source_output().get_node()


def _is_linear(layer: Any) -> bool:
    weights = _constant(layer)
    is_matrix = weights.get_type_name() == "Constant" and len(weights.get_output_shape(0)) == 2
    return is_matrix and bool(layer.get_attributes()["transpose_b"])


def _spread(numbers: NDArray[np.float32]) -> Range:
    rows = numbers.reshape(-1, numbers.shape[-1])
    return np.stack([rows.min(0), rows.max(0)])


def _joined(one: Range, two: Range) -> Range:
    return np.stack([np.minimum(one[0], two[0]), np.maximum(one[1], two[1])])


def _factors(spread: Range, weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The divisor of each channel, `[channels]`: powers of 2, which round nothing and are alike on all machines."""
    numbers = np.abs(spread).max(0).clip(_LEAST)
    others = np.max([np.abs(each).max(0) for each in weights], axis=0).clip(_LEAST)
    return np.exp2(np.round(np.log2(numbers**_SHARE / others ** (1 - _SHARE)))).astype(np.float32)


def _multiply(
    layers: Sequence[Any], source: Any, factors: NDArray[np.float32], spread: Range, weights: Sequence[Integers]
) -> None:
    """Have OpenVINO multiply integers: it knows them by the scales that numbers and weights are written with."""
    nodes, (step, zero) = import_openvino("openvino.opset13"), _levels(factors, spread)
    rounded = _rounded(source, factors, step, zero, step)
    for layer, (integers, scales) in zip(layers, weights, strict=True):
        layer.input(0).replace_source_output(rounded)
        written = nodes.multiply(nodes.convert(nodes.constant(integers), "f32"), nodes.constant(scales))
        layer.input(1).replace_source_output(written.output(0))


def _multiply_as_floats(
    layers: Sequence[Any], source: Any, factors: NDArray[np.float32], spread: Range, weights: Sequence[Integers]
) -> None:
    """Multiply the same integers as float32, and scale what they add up to: exact, in any order, below 2**24."""
    nodes, (step, zero) = import_openvino("openvino.opset13"), _levels(factors, spread)
    rounded = _rounded(source, factors, step, zero, 1.0)
    for layer, (integers, scales) in zip(layers, weights, strict=True):
        layer.input(0).replace_source_output(rounded)
        layer.input(1).replace_source_output(nodes.constant(integers.astype(np.float32)).output(0))
        readers = layer.output(0).get_target_inputs()
        scaled = nodes.multiply(layer.output(0), nodes.constant(np.float32(step) * scales.T[None]))
        for reader in readers:
            reader.replace_source_output(scaled.output(0))


def _levels(factors: NDArray[np.float32], spread: Range) -> tuple[float, int]:
    """The distance of two levels for the numbers of a text, divided by the factors, and which of them is 0."""
    low, high = min(0.0, float((spread[0] / factors).min())), max(_LEAST, float((spread[1] / factors).max()))
    step = float(f"{(high - low) / (_LEVELS - 1):.3g}")  # alike where float32 rounds a little differently
    return step, round(-low / step)


def _rounded(source: Any, factors: NDArray[np.float32], step: float, zero: int, unit: float) -> Any:
    """The numbers of a text, divided by the factors, on 256 levels; the distance of two is made `unit`."""
    nodes = import_openvino("openvino.opset13")
    ends = [
        [nodes.constant(np.float32(level * size)) for level in (-zero, _LEVELS - 1 - zero)] for size in (step, unit)
    ]
    divided = nodes.multiply(source, nodes.constant((1 / factors)[None, None]))
    return nodes.fake_quantize(divided, *ends[0], *ends[1], _LEVELS).output(0)


def _integers(weights: NDArray[np.float32]) -> Integers:
    """Weights `[outputs, channels]` as integers of 8 bits, with a scale for each output."""
    scales = np.abs(weights).max(1, keepdims=True).clip(_LEAST**2) / _LARGEST_WEIGHT
    return np.round(weights / scales).astype(np.int8), scales

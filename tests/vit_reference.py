"""The equations of the small transformer, in numpy, one image or pair at a time."""

from __future__ import annotations

import math

import numpy as np
import torch


def parameters(module):
    """All weights of a module, as float64."""
    return {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}


def gelu(values):
    """By its definition."""
    return np.vectorize(lambda value: value * (1 + math.erf(value / math.sqrt(2))) / 2)(values)


def _normalised(values, scale, shift):
    """Mean 0 and variance 1 of all that is given, then a scale and a shift."""
    return (values - values.mean()) / np.sqrt(values.var() + 1e-5) * scale + shift


def _convolved(image, kernels, biases):
    """3 x 3, stride 2, zeros around: `[channels, height, width]`."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    height, width = ((size + 1) // 2 for size in image.shape[1:])
    result = np.zeros((len(kernels), height, width))
    for out, kernel in enumerate(kernels):
        for y in range(height):
            for x in range(width):
                result[out, y, x] = (padded[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3] * kernel).sum() + biases[out]
    return result


def _stem(image, weight):
    """Two convolutions and a linear map: tokens `[places, dim]`."""
    for at in (0, 3):
        image = _convolved(image, weight[f"stem.{at}.weight"], weight[f"stem.{at}.bias"])
        scale, shift = (weight[f"stem.{at + 1}.{name}"][:, None, None] for name in ("weight", "bias"))
        image = gelu(_normalised(image, scale, shift))
    flat = image.reshape(len(image), -1).T
    return flat @ weight["stem.6.weight"][:, :, 0, 0].T + weight["stem.6.bias"]


def linear(rows, weight, name):
    """A dense layer."""
    return rows @ weight[f"{name}.weight"].T + weight[f"{name}.bias"]


def _norm(rows, weight, name):
    return np.array([_normalised(row, weight[f"{name}.weight"], weight[f"{name}.bias"]) for row in rows])


def _attention(rows, weight, block, heads):
    asks, keys, values = np.split(linear(rows, weight, f"{block}.asks"), 3, axis=1)
    width, result = rows.shape[1] // heads, np.zeros(rows.shape)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for token in range(len(rows)):
            attention = np.exp(keys[:, part] @ asks[token, part] / math.sqrt(width))
            result[token, part] = attention / attention.sum() @ values[:, part]
    return linear(result, weight, f"{block}.answers")


def _block(rows, weight, name, heads=2):
    rows = rows + _attention(_norm(rows, weight, f"{name}.before"), weight, name, heads)
    wide = gelu(linear(_norm(rows, weight, f"{name}.between"), weight, f"{name}.wide"))
    return rows + linear(wide, weight, f"{name}.narrow")


def transformed(given, weight):
    """One vector an image, of images `[channels, side, side]` from 0 to 1 that, if several, have seen each other."""
    tokens = [_stem(image * 2 - 1, weight) + weight["positions"] for image in given]
    for number in range(2):
        tokens = [_block(rows, weight, f"blocks.{number}") for rows in tokens]
    if len(given) > 1:
        joined = np.concatenate([rows + which for rows, which in zip(tokens, weight["which"], strict=True)])
        for number in range(2):
            joined = _block(joined, weight, f"joint.{number}")
        tokens = np.split(joined, len(given))
    return [_norm(rows, weight, "norm").mean(0) for rows in tokens]


def weights_of(module, prefix):
    """The weights of a part of a module, by their names in it."""
    return {name.removeprefix(prefix): value for name, value in parameters(module).items() if name.startswith(prefix)}


def scattered(module):
    """Parameters that are no longer 0 and 1, so that each matters."""
    random = torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=random)
    return module

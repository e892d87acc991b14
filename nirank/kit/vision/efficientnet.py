"""EfficientNet-lite0, and its weights from ImageNet: an image encoder that is fast enough on a CPU.

Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019, table 1. The "lite"
models leave squeeze-and-excitation out and have ReLU6 as their activation.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.errors import BadInput

#: Stages: kernel, stride, expansion, channels out, blocks.
_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4))
_LAST = (3, 1, 6, 320, 1)
_STEM_CHANNELS = 32
#: Weights of its file that `EfficientNet` has no place for.
_CLASSIFIER = ("fc.weight", "fc.bias")


class EfficientNet(nn.Module):
    """Pixels `[n, 3, height, width]` -> features `[n, 1280]`, the means of the last maps.

    Its batch normalisation keeps the means and variances that it came with, in training too: what it makes of an image
    never depends on the batch.
    """

    dim = 1280
    #: Pixels as it was trained with: (byte - 127) / 128, of a side of 224.
    MEAN, STD, SIZE = 127 / 255, 128 / 255, 224

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = _Convolution(3, _STEM_CHANNELS, 3, 2), _norm(_STEM_CHANNELS)
        self.blocks = nn.ModuleList(_blocks())
        self.conv_head, self.bn1 = _Convolution(_LAST[3], self.dim, 1), _norm(self.dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, `[n, 1280]`."""
        return self.maps(pixels).mean(dim=(2, 3))

    def maps(self, pixels: Tensor) -> Tensor:
        """The last maps, `[n, 1280, height / 32, width / 32]`."""
        # with channels last a CPU takes two thirds of the time
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        maps = F.relu6(self.bn0(self.conv_stem(pixels)))  # [n, 32, height / 2, width / 2]
        for block in self.blocks:
            maps = block(maps)  # ... [n, 320, height / 32, width / 32]
        return F.relu6(self.bn1(self.conv_head(maps)))

    def train(self, mode: bool = True) -> EfficientNet:
        """Batch normalisation stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def load(self, path: Path) -> None:
        """Take the weights of a file of PyTorch, whose names may begin with underscores. Nothing in it is executed.

        Raises `BadInput` for a file that holds something else.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            named = {re.sub(r"(^|\.)_", r"\1", name): tensor for name, tensor in state.items()}
            self.load_state_dict({name: tensor for name, tensor in named.items() if name not in _CLASSIFIER})
        except (OSError, RuntimeError, pickle.UnpicklingError, AttributeError, EOFError) as error:
            raise BadInput(f"cannot be loaded as weights of EfficientNet-lite0: {error}", path) from error


class _Block(nn.Module):
    """An inverted bottleneck: channels are expanded, filtered one by one, and projected back."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = before * expansion
        self.expands, self.adds = expansion > 1, stride == 1 and before == after
        if self.expands:
            self.expand_conv, self.bn0 = _Convolution(before, inner, 1), _norm(inner)
        self.depthwise_conv, self.bn1 = _Convolution(inner, inner, kernel, stride, groups=inner), _norm(inner)
        self.project_conv, self.bn2 = _Convolution(inner, after, 1), _norm(after)

    def forward(self, maps: Tensor) -> Tensor:
        inner = F.relu6(self.bn0(self.expand_conv(maps))) if self.expands else maps
        inner = F.relu6(self.bn1(self.depthwise_conv(inner)))
        projected: Tensor = self.bn2(self.project_conv(inner))
        return maps + projected if self.adds else projected


class _Convolution(nn.Conv2d):
    """Without bias, and padded as TensorFlow does: where the padding is odd, more of it is on the right and below."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, after, kernel, stride, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        down, across = (self._padding(length) for length in maps.shape[2:])
        odd = (0, across % 2, 0, down % 2)
        if any(odd):  # a copy of all maps, which padding on both sides alike does not need
            maps = F.pad(maps, odd)
        return F.conv2d(maps, self.weight, None, self.stride, (down // 2, across // 2), groups=self.groups)

    def _padding(self, length: int) -> int:
        kernel, stride = self.kernel_size[0], self.stride[0]
        return max((-(-length // stride) - 1) * stride + kernel - length, 0)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _blocks() -> Iterator[_Block]:
    before = _STEM_CHANNELS
    for kernel, stride, expansion, after, count in (*_STAGES, _LAST):
        for number in range(count):
            yield _Block(before, after, kernel, 1 if number else stride, expansion)
            before = after

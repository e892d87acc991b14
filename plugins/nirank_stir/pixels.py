"""Images as tensors: all of one size, and in training moved a little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nirank import images
from nirank.data import Content


def pixels(contents: Sequence[Content], side: int, channels: int, device: torch.device) -> Tensor:
    """Images from 0 to 1, float32 `[n, channels, side, side]`: grey for 1 channel, RGB for 3; squeezed to a square."""
    mode = "L" if channels == 1 else "RGB"

    def made(image: Any) -> np.ndarray[Any, Any]:
        sized = image if image.size == (side, side) else image.resize((side, side))
        return np.asarray(sized.convert(mode)).reshape(side, side, channels)

    stacked = np.stack(list(images.each(contents, made))) if len(contents) else np.zeros((0, side, side, channels))
    return torch.from_numpy(stacked).to(device).permute(0, 3, 1, 2).float() / 255


def jittered(moved: Tensor, amount: float) -> Tensor:
    """Each image turned, sheared, scaled and shifted at random, `[n, channels, height, width]`.

    `amount` is by how much at most: of its size, and in radians. What comes in from outside repeats the edge. Chance
    comes from torch's generator.
    """
    turn, shear, scale, across, down = ((2 * torch.rand(5, len(moved)) - 1) * amount).unbind()
    sine, cosine, size = turn.sin(), turn.cos(), 1 + scale
    rows = [size * cosine, shear - size * sine, across, size * sine, size * cosine, down]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(moved.shape), align_corners=False)
    return F.grid_sample(moved, grid.to(moved.device), padding_mode="border", align_corners=False)

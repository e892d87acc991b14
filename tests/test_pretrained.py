"""Models from elsewhere: what is loaded, what is refused, and which texts go together."""

from __future__ import annotations

import numpy as np
import pytest

from nirank.errors import BadInput
from nirank.kit.transformers import load, passes
from nirank_dense import tiny


@pytest.mark.parametrize(
    ("lengths", "size", "budget", "expected"),
    [
        ([3, 1, 2, 1], 2, None, [[0, 2], [1, 3]]),
        ([3, 1, 2, 1], 9, 4, [[0], [2, 1], [3]]),
        ([9, 0, 0], 9, 4, [[0], [1, 2]]),
        ([0, 0], 1, 4, [[0], [1]]),
        ([], 1, 4, []),
    ],
)
def test_texts_of_similar_length_are_read_together(lengths, size, budget, expected):
    assert [part.tolist() for part in passes(np.array(lengths, np.int64), size, budget)] == expected


def test_a_folder_is_loaded_as_transformers_does(tmp_path):
    tiny.save(tmp_path)
    model, tokenizer = load("AutoModel", str(tmp_path)), load("AutoTokenizer", str(tmp_path))
    assert model.config.hidden_size == 16
    assert len(tokenizer) == model.config.vocab_size


def test_weights_of_a_folder_are_safetensors_or_none(tmp_path):
    tiny.save(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="no folder or hub name that AutoModel can load"):
        load("AutoModel", str(tmp_path))


@pytest.mark.parametrize("name", ["nobody/has-this", "nowhere/at/all", ""])
def test_a_model_that_is_not_there_is_told_by_its_name(name):
    with pytest.raises(BadInput, match=f"'{name}' is no folder or hub name"):
        load("AutoModel", name)


def test_a_damaged_file_is_told(tmp_path):
    tiny.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(BadInput, match="AutoModel can load"):
        load("AutoModel", str(tmp_path))

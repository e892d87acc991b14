"""Where word vectors come from: every format, what is refused, words that have none, and what a lexicon remembers."""

from __future__ import annotations

import gzip
import json
import lzma
import math
from itertools import chain

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("regex")
pytest.importorskip("tokenizers")

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from nirank.data import Documents
from nirank.errors import BadInput
from nirank.kit.text import Analyzer, SkipGram, Word2Vec, words
from nirank_interaction import lexicon as lexicons
from nirank_interaction import wordfiles
from nirank_interaction.lexicon import Lexicon, Ragged, learn
from nirank_interaction.vectors import WordMatrix, read

WORDS = ["cat", "Dog", "dog", "PARIS", ". . .", "東京"]
MATRIX = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32)

_PACK = {".gz": gzip.compress, ".xz": lzma.compress}


def _vector(vectors, word):
    return vectors.matrix[vectors.rows([word])[0]].mean(0)


def _text(path, header=None, words=WORDS, matrix=MATRIX):
    lines = [" ".join([word, *map(repr, map(float, row))]) for word, row in zip(words, matrix, strict=True)]
    written = "\n".join([*([header] if header else []), *lines]) + "\n"
    path.write_bytes(_PACK.get(path.suffix, bytes)(written.encode()))
    return path


def _binary(path):
    models_of_gensim = pytest.importorskip("gensim.models")
    keyed = models_of_gensim.KeyedVectors(4)
    keyed.add_vectors(["cat", "Dog", "dog", "PARIS", "._._.", "東京"], MATRIX)
    keyed.save_word2vec_format(str(path), binary=True)
    return path


@pytest.mark.parametrize(
    "form", ["glove.txt", "headed.txt", "glove.txt.gz", "glove.txt.xz", "vectors.bin", "kept.safetensors"]
)
def test_files_are_read(tmp_path, form):
    path = tmp_path / form
    if form == "vectors.bin":
        _binary(path)
    elif form == "kept.safetensors":
        Word2Vec(WORDS, MATRIX, -MATRIX, {}).save(path)
    else:
        _text(path, "6 4" if form == "headed.txt" else None)
    vectors = read(str(path))
    assert vectors.dim == 4
    for word, row in (("cat", 0), ("dog", 2), ("paris", 3), ("東京", 5)):  # of Dog and dog the one that words are
        np.testing.assert_array_equal(_vector(vectors, word), MATRIX[row], err_msg=word)


def test_words_of_a_file_may_hold_blanks(tmp_path):
    found = wordfiles.read(_text(tmp_path / "some.txt"))
    assert found.words == WORDS
    np.testing.assert_array_equal(found.matrix, MATRIX)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"cat 1 2\ndog 1 2 x\n", r"file.txt:2: a word in UTF-8 and 2 numbers are expected: could not convert"),
        (b"cat 1 2\ndog 1\n", r"file.txt:2: a word and 2 numbers are expected; this line has 1"),
        (b"cat 1 2\n\ndog 1 nan\n", r"file.txt:3: the vector of 'dog' contains NaN or infinity"),
        (b"cat 1 2\ndog 1 2\ncat 3 4\n", r"file.txt:3: the word 'cat' is already in line 1"),
        (b"3 2\ncat 1 2\ndog 1 2\n", r"file.txt:3: the first line announces 3 words, but 2 follow"),
        (b"2 3\ncat 1 2\ndog 1 2\n", r"file.txt:2: a word and 3 numbers are expected; this line has 2"),
        (b"cat 1 2\n\xff\xfe 1 2\n", r"file.txt:2: a word in UTF-8 and 2 numbers are expected: 'utf-8'"),
        (b"cat\n", r"file.txt:1: a word and 1 numbers are expected; this line has 0"),
        (b"", r"file.txt: has no vectors"),
    ],
)
def test_damaged_text_is_refused_with_its_line(tmp_path, written, told):
    (tmp_path / "file.txt").write_bytes(written)
    with pytest.raises(BadInput, match=told):
        read(str(tmp_path / "file.txt"))


def test_damaged_packed_files_are_refused(tmp_path):
    whole = _text(tmp_path / "whole.txt.gz").read_bytes()
    (tmp_path / "cut.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"cut.txt.gz: this is not a complete gzip file"):
        read(str(tmp_path / "cut.txt.gz"))
    (tmp_path / "not.txt.gz").write_bytes(b"cat 1 2")
    with pytest.raises(BadInput, match=r"not.txt.gz: this is not a complete gzip file"):
        read(str(tmp_path / "not.txt.gz"))


def test_damaged_binary_files_are_refused(tmp_path):
    binary = _binary(tmp_path / "whole.bin").read_bytes()
    for name, damaged, told in (
        ("cut", binary[:90], "too short for 6 vectors of 4 numbers"),
        ("less", binary[:-2], "damaged"),
        ("huge", b"9999999999 300\n" + binary, "too short for"),
        ("text", b"cat 1 2", "does not begin with the numbers of words"),
        ("twice", binary.replace("東京".encode(), b"cat   "), "6 words, but"),
    ):
        (tmp_path / f"{name}.bin").write_bytes(damaged)
        with pytest.raises(BadInput, match=rf"{name}.bin: .*{told}"):
            read(str(tmp_path / f"{name}.bin"))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "other.safetensors").write_bytes(b"no")
    with pytest.raises(BadInput, match=r"other.safetensors: cannot be read as word vectors"):
        read(str(tmp_path / "other.safetensors"))
    with pytest.raises(BadInput, match=r'missing: does not exist; .* or "corpus"'):
        read(str(tmp_path / "missing"))


def _folder(folder, tensors, tokens=("[UNK]", "un", "##known", "cat"), config=True):
    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer(models.WordPiece({token: row for row, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(tensors, folder / "model.safetensors")
    if config:
        (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return str(folder)


def test_the_input_embeddings_of_a_transformer_are_read(tmp_path):
    matrix = torch.from_numpy(MATRIX[:5]).to(torch.bfloat16)
    tensors = {"bert.embeddings.word_embeddings.weight": matrix, "bert.pooler.weight": torch.zeros(4, 4)}
    vectors = read(_folder(tmp_path / "bert", tensors))
    rows = matrix.float().numpy()
    np.testing.assert_array_equal(_vector(vectors, "cat"), rows[3])
    np.testing.assert_allclose(_vector(vectors, "unknown"), (rows[1] + rows[2]) / 2, rtol=1e-6)
    assert min(vectors.rows(["zebra"])[0]) >= 5  # [UNK] is no vector of a word


def test_folders_that_hold_something_else_are_refused(tmp_path):
    two = {"a": torch.zeros(5, 4), "b": torch.zeros(5, 4)}
    with pytest.raises(BadInput, match=r"two: one matrix of word vectors is expected .* found: a, b"):
        read(_folder(tmp_path / "two", two, config=False))
    with pytest.raises(BadInput, match=r"bert: one matrix of word vectors is expected"):
        read(_folder(tmp_path / "bert", two))
    with pytest.raises(BadInput, match=r"few.tokenizer.json: knows 4 words, but there are vectors of 3"):
        read(_folder(tmp_path / "few", {"a": torch.zeros(3, 4)}, config=False))
    with pytest.raises(BadInput, match=r"nan.model.safetensors: a contains NaN or infinity"):
        read(_folder(tmp_path / "nan", {"a": torch.full((5, 4), torch.nan)}, config=False))
    broken = _folder(tmp_path / "broken", {"a": torch.zeros(5, 4)}, config=False)
    (tmp_path / "broken" / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match=r"tokenizer.json: is not a tokenizer"):
        read(broken)
    (tmp_path / "broken" / "tokenizer.json").unlink()
    with pytest.raises(BadInput, match=r"broken: has 0 files \*.json"):
        read(broken)
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(BadInput, match=r"model.safetensors: is not a file of safetensors"):
        read(broken)


@pytest.mark.parametrize("name", ["wordllama-256", "splade-tiny"])
def test_real_matrices_with_tokenizers_are_read(shared, name):
    vectors = read(str(shared("weights") / name))
    known, (cat, both, odd) = vectors.known, vectors.rows(["cat", "catapulting", "\ud800"])
    assert len(cat) == 1
    assert [known.tokenizer.id_to_token(row).strip("▁") for row in cat] == ["cat"]
    assert 1 < len(both) < 6
    assert odd
    assert vectors.matrix.dtype == np.float32


def test_words_without_vectors_have_random_ones_of_their_own():
    matrix = np.random.default_rng(0).standard_normal((50, 64)).astype(np.float32)
    vectors = WordMatrix.of_words([f"w{row}" for row in range(50)], matrix)
    names = [f"zorb{number}" for number in range(200)]
    drawn = np.stack([_vector(vectors, name) for name in names])
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    cosines = unit @ unit.T - np.eye(200)
    assert np.median(np.abs(cosines)) < 0.12
    assert cosines.max() < 0.999  # no two share all of their rows
    assert np.linalg.norm(drawn, axis=1).mean() == pytest.approx(np.linalg.norm(matrix, axis=1).mean(), rel=0.1)
    other = WordMatrix.of_words(["else"], matrix[:1])
    np.testing.assert_array_equal(
        np.subtract(other.rows(names), len(other.matrix)), np.subtract(vectors.rows(names), len(vectors.matrix))
    )


@pytest.mark.parametrize("kind", ["words", "stems", "pieces"])
def test_what_is_saved_is_read_again(tmp_path, kind):
    if kind == "pieces":
        vectors = read(_folder(tmp_path / "given", {"a": torch.from_numpy(MATRIX)}, config=False))
    else:
        vectors = WordMatrix.of_words(WORDS, MATRIX, stems=kind == "stems")
    (tmp_path / "saved").mkdir()
    vectors.save(tmp_path / "saved")
    again = WordMatrix.load(tmp_path / "saved")
    words = ["cat", "dog", "unknown", "zebra", "東京"]
    assert again.rows(words) == vectors.rows(words)
    np.testing.assert_array_equal(again.matrix, vectors.matrix)
    assert (again.known.stems, again.known_by) == (vectors.known.stems, vectors.known_by)


def test_saved_vectors_that_are_damaged_are_refused(tmp_path):
    vectors = WordMatrix.of_words(WORDS, MATRIX)
    vectors.save(tmp_path)
    (tmp_path / "other").mkdir()
    WordMatrix.of_words(WORDS[:1], MATRIX[:1]).known.save(tmp_path)
    with pytest.raises(BadInput, match="has 5 vectors for 1 words"):
        WordMatrix.load(tmp_path)
    (tmp_path / "term_text.npy").unlink()
    with pytest.raises(BadInput, match="does not have the word vectors that are saved"):
        WordMatrix.load(tmp_path)
    with pytest.raises(BadInput, match="other: does not have the word vectors"):
        WordMatrix.load(tmp_path / "other")


TEXTS = ["The cats ran, the cat ran", "", "a dog; running dogs", "zorbing zorbs 東京 Ünïcödé", "dog"]


def _lexicon(stopwords=(), **vectors):
    analyzer = Analyzer(stopwords=stopwords)
    rarity, _ = learn(Documents(list("abcde"), TEXTS), analyzer, None)
    return Lexicon(analyzer, rarity, WordMatrix.of_words(WORDS, MATRIX))


def test_words_match_exactly_where_their_stems_are_the_same():
    lexicon = _lexicon()
    read_texts = lexicon.read(TEXTS)
    terms = lexicon.terms(read_texts.values)
    spelt = [Analyzer(stopwords=()).term(word) for text in TEXTS for word in words(text)]
    assert len(spelt) == len(terms) == 16
    for one, first in zip(terms, spelt, strict=True):
        assert [other == one for other in terms] == [other == first for other in spelt]
    assert read_texts.lengths.tolist() == [len(words(text)) for text in TEXTS]


def test_idf_is_that_of_bm25_over_the_collection():
    lexicon = _lexicon()
    numbers = lexicon.read(["dogs cat unseen"]).values
    expected = [math.log(1 + (5 - df + 0.5) / (df + 0.5)) for df in (2, 1, 0)]
    np.testing.assert_allclose(lexicon.idf(numbers), expected, rtol=1e-6)
    assert lexicon.rarity.largest == pytest.approx(expected[2])


def test_stop_words_are_not_read():
    lexicon = _lexicon(stopwords=None)
    assert np.diff(lexicon.read(["the cat and the dog", "the", "of it"]).offsets).tolist() == [2, 0, 0]
    assert np.diff(lexicon.read(["the cat and the dog"], longest=1).offsets).tolist() == [1]


def test_rows_of_words_are_those_of_their_vectors():
    lexicon = _lexicon()
    numbers = lexicon.read(["dog zorbing cat"]).values
    rows = lexicon.rows(numbers[::-1].copy())
    assert [len(part) for part in np.split(rows.values, rows.offsets[1:-1])] == [1, 3, 1]
    assert rows.values.tolist() == [*chain.from_iterable(lexicon.vectors.rows(["cat", "zorbing", "dog"]))]


def test_each_text_is_read_once_until_there_is_no_room(monkeypatch):
    read_so_far = []
    words_of = lexicons.words_of
    monkeypatch.setattr(lexicons, "words_of", lambda text: read_so_far.append(text) or words_of(text))
    lexicon = _lexicon()
    first = lexicon.read(TEXTS)
    again = lexicon.read(TEXTS[::-1])
    assert read_so_far == TEXTS
    assert again.values.tolist() == first.take(np.arange(5)[::-1]).values.tolist()
    lexicon.make_room()
    lexicon.read(TEXTS)
    assert len(read_so_far) == 5
    monkeypatch.setattr(lexicons, "_LETTERS", 10)
    lexicon.make_room()
    assert len(lexicon) == 0
    assert lexicon.read(TEXTS).values.tolist() == first.values.tolist()
    assert len(read_so_far) == 10


def test_what_is_no_text_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"content \d+ is of type PosixPath"):
        _lexicon().read(["cat", tmp_path])
    with pytest.raises(BadInput, match=r"content \d+ is of type list"):
        _lexicon().read([["cat"]])


def test_vectors_are_trained_on_the_terms_of_a_corpus():
    pytest.importorskip("gensim")
    corpus = Documents([str(number) for number in range(40)], ["running dogs bark", "cats sleep here"] * 20)
    rarity, vectors = learn(corpus, Analyzer(stopwords=()), SkipGram(dim=6, min_count=2))
    assert vectors.known.stems
    assert vectors.dim == 6
    lexicon = Lexicon(Analyzer(stopwords=()), rarity, vectors)
    run, runs = lexicon.read(["run runs"]).values
    assert lexicon.rows(np.array([run])).values.tolist() == lexicon.rows(np.array([runs])).values.tolist()
    assert len(lexicon.rows(np.array([run])).values) == 1


def test_rarity_is_saved_and_damage_is_told(tmp_path):
    rarity, _ = learn(Documents(list("abcde"), TEXTS), Analyzer(), None)
    rarity.save(tmp_path)
    again = lexicons.Rarity.load(tmp_path)
    assert again.fingerprint == rarity.fingerprint
    np.testing.assert_array_equal(again.idf(["dog", "x"]), rarity.idf(["dog", "x"]))
    (tmp_path / "counts.safetensors").write_bytes(b"no")
    with pytest.raises(BadInput, match="does not have the terms that are saved"):
        lexicons.Rarity.load(tmp_path)


def test_rows_of_different_lengths_are_taken_in_any_order():
    rows = Ragged.of([np.array([1, 2]), np.array([], np.int64), np.array([3])])
    taken = rows.take(np.array([2, 1, 0, 2]))
    assert taken.values.tolist() == [3, 1, 2, 3]
    assert taken.offsets.tolist() == [0, 1, 1, 3, 4]
    assert Ragged.of([]).lengths.tolist() == []

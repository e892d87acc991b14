"""Text as terms: how it is analysed, counted and weighted, and the vectors of its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.kit.text.analysis import ENGLISH_STOPWORDS as ENGLISH_STOPWORDS
    from nirank.kit.text.analysis import Analyzer as Analyzer
    from nirank.kit.text.analysis import Rules as Rules
    from nirank.kit.text.contents import require_text as require_text
    from nirank.kit.text.corpus_terms import TermNumbers as TermNumbers
    from nirank.kit.text.corpus_terms import term_batches as term_batches
    from nirank.kit.text.cutting import Cutting as Cutting
    from nirank.kit.text.forward_index import ForwardIndex as ForwardIndex
    from nirank.kit.text.forward_index import index_key as index_key
    from nirank.kit.text.lengths import Lengths as Lengths
    from nirank.kit.text.lengths import Statistics as Statistics
    from nirank.kit.text.lengths import Totals as Totals
    from nirank.kit.text.lucene_weighting import LuceneDirichletWeighting as LuceneDirichletWeighting
    from nirank.kit.text.lucene_weighting import LuceneJelinekMercerWeighting as LuceneJelinekMercerWeighting
    from nirank.kit.text.lucene_weighting import LuceneTFIDFWeighting as LuceneTFIDFWeighting
    from nirank.kit.text.places import Place as Place
    from nirank.kit.text.places import term_places as term_places
    from nirank.kit.text.prompts import Prompt as Prompt
    from nirank.kit.text.prompts import Read as Read
    from nirank.kit.text.prompts import Tokens as Tokens
    from nirank.kit.text.prompts import tokens as tokens
    from nirank.kit.text.queries import QueryParser as QueryParser
    from nirank.kit.text.queries import QueryTerms as QueryTerms
    from nirank.kit.text.stemming import stemmer as stemmer
    from nirank.kit.text.vocabulary import Vocabulary as Vocabulary
    from nirank.kit.text.weighting import BM25Weighting as BM25Weighting
    from nirank.kit.text.weighting import DirichletWeighting as DirichletWeighting
    from nirank.kit.text.weighting import JelinekMercerWeighting as JelinekMercerWeighting
    from nirank.kit.text.weighting import TFIDFWeighting as TFIDFWeighting
    from nirank.kit.text.weighting import Weighting as Weighting
    from nirank.kit.text.word2vec import SkipGram as SkipGram
    from nirank.kit.text.word2vec import Trained as Trained
    from nirank.kit.text.word2vec import Word2Vec as Word2Vec
    from nirank.kit.text.word2vec import unit as unit
    from nirank.kit.text.word_breaks import lower as lower
    from nirank.kit.text.word_breaks import words as words

_HOMES = {
    "nirank.kit.text.analysis": ["Analyzer", "ENGLISH_STOPWORDS", "Rules"],
    "nirank.kit.text.contents": ["require_text"],
    "nirank.kit.text.corpus_terms": ["TermNumbers", "term_batches"],
    "nirank.kit.text.cutting": ["Cutting"],
    "nirank.kit.text.forward_index": ["ForwardIndex", "index_key"],
    "nirank.kit.text.lengths": ["Lengths", "Statistics", "Totals"],
    "nirank.kit.text.lucene_weighting": [
        "LuceneDirichletWeighting",
        "LuceneJelinekMercerWeighting",
        "LuceneTFIDFWeighting",
    ],
    "nirank.kit.text.places": ["Place", "term_places"],
    "nirank.kit.text.prompts": ["Prompt", "Read", "Tokens", "tokens"],
    "nirank.kit.text.queries": ["QueryParser", "QueryTerms"],
    "nirank.kit.text.stemming": ["stemmer"],
    "nirank.kit.text.vocabulary": ["Vocabulary"],
    "nirank.kit.text.weighting": [
        "BM25Weighting",
        "DirichletWeighting",
        "JelinekMercerWeighting",
        "TFIDFWeighting",
        "Weighting",
    ],
    "nirank.kit.text.word2vec": ["SkipGram", "Trained", "Word2Vec", "unit"],
    "nirank.kit.text.word_breaks": ["lower", "words"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)

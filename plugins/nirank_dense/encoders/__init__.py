"""Encoders of texts: bi-encoders of sentence-transformers, two towers, weighted word vectors."""

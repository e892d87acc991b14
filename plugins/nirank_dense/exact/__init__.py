"""Exact search over dense vectors: first the codes of all documents, then the scores of few; or all scores at once."""

"""Approximate search in indexes of faiss."""

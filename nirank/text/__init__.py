"""Text as terms: how it is analysed, counted and weighted, and the vectors of its words."""

"""`python -m nirank`, for where the command `nirank` is not on the path."""

from nirank.cli import main

main()

"""The report of an experiment: one page that can be sent, with tables, plots, and the queries that tell most."""

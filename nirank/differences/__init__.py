"""Why two runs differ: in what they were made from, stage by stage, query by query, and in what measures say."""

"""Judging: baselines, metrics on the test part, the verdict, pictures and the report."""

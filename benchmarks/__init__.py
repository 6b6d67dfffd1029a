"""Measurements that the documentation quotes. Each is a module run by hand; results are lines in `results/*.jsonl`."""

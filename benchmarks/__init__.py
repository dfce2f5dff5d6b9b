"""Measurements that anyone can repeat; each prints a table and appends its rows to benchmarks/results/."""

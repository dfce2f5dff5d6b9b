"""Builders of dataset folders from the files that benchmarks are published as."""

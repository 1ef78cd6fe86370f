"""Capability suites beside the benchmark."""

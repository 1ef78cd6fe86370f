"""Capability suites: what safety training must not cost."""

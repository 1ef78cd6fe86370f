"""Checks and counts of a build."""

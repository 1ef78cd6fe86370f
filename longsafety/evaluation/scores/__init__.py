"""Scores, totals and statistics of answers."""

"""Verdicts on open replies: the refusal detector and the judge."""

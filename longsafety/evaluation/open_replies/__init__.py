"""Verdicts on open replies: the refusal detector, the judge, and how often each is right."""

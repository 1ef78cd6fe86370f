"""Seed items: what samples are made of. Beside the code: the shipped items, a folder for each language."""

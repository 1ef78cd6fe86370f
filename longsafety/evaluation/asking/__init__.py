"""Collects a model's answers: which items and trials, what a backend is, how answers are read and journaled."""

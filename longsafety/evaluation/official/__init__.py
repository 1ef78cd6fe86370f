"""Answers in the files of the published evaluator: recorded ones are read, our own are written."""

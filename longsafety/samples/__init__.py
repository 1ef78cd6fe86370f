"""Samples, the ground on which data, model, evaluation and formats stand.

A sample is a recipe (``recipe``) of spans in a token store (``store``); ``encode`` makes token ids of it. ``language``
and ``licence`` say what language its texts are in and under which licence its parts are.
"""

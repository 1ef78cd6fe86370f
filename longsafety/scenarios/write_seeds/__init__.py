"""A teacher writes a seed file: harmful requests, statements or documents → seed items for every task, for review."""

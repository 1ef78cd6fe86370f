"""Documents that contexts are made of.

``corpus`` reads and checks the user's documents, ``embedded`` makes documents from installed documentation, and
``retrieval`` finds passages by keywords (BM25).
"""

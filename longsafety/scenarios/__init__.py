"""How samples are made: documents, seeds, retrieval, assembly, and one file a scenario."""

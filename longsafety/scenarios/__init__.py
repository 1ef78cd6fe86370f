"""How samples are made: documents, seeds, retrieval, assembly, and one file a scenario."""

TASK_NAMES = ("HarmfulNIAH", "KeywordRAG", "ManyShotJailbreak")
"""The tasks that ``scenarios.build`` knows, for checking settings without importing it."""

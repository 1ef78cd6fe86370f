"""The backends that answer questions: transformers, vLLM, a server."""

"""The backends: transformers, vLLM, a chat server, several processes."""

"""The client of OpenAI-compatible servers, with kept replies and a budget."""

"""How a model is asked and judged: backend, answers, scores and statistics."""

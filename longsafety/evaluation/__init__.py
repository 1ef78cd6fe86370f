"""How a model is evaluated: backends answer items; answers become scores, totals and statistics."""

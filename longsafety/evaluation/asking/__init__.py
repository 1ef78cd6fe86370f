"""Which questions a model is asked, and its answers as they come."""

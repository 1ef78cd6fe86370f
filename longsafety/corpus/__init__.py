"""Documents: the user's or the embedded ones, and retrieval over them."""

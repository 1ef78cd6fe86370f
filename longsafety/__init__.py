"""longsafety: is my model still safe when the context is long, and which training data makes it so?"""

__version__ = "0.2.0"

"""How samples become batches: the mix, its encoding and the Lightning data module."""

"""What a sample is: its recipe, the token store, its tokens, its language and licence."""

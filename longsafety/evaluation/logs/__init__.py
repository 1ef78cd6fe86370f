"""What other programs recorded: which kind it is, what it calls itself, and its rows as our answers."""

"""What a run asks of the machine below it: signals, locks, rights, and what it refuses, in words."""

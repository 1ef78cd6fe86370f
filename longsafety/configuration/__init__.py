"""From the command line to typed settings."""

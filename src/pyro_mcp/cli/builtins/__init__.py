"""Commands that only the command line has: their table, their requests, and what runs them."""

"""Results as text for a person: one layout for all, and those of single nouns."""

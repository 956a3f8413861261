"""Results as text for a person: a common layout, and those of individual nouns."""

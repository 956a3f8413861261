"""Eight callers at once, with every verb, while callers and VMMs are killed and the power is cut."""

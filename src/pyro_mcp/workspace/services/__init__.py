"""Services of a workspace: their specification, start, readiness, stop and published ports."""

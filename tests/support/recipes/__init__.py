"""What users have agents do, step by step: played by a plain MCP client and by each real chat host."""

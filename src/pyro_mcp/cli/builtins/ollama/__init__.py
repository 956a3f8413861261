"""A local model, served by Ollama, that drives the tools."""

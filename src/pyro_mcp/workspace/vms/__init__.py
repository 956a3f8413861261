"""One-shot VMs: one verb a module, each VM deleted after its one command."""

"""One-shot VMs, each deleted after its one command: a module per verb."""

"""Records of VMs and workspaces: the store, directories, locks, removal, and reconciling records with reality."""

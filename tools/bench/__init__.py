"""The operator with many resources, measured beside its goals; nodes, pods, volumes and gateways are played."""

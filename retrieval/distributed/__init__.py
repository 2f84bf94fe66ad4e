"""Work on several machines with Ray: cluster, then pool, then lists and training."""

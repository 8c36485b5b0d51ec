"""kopf: watches put keys on the queue, and nothing else."""

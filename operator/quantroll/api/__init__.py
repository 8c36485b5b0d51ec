"""The public contract: what a user writes, what the operator reports, and what Jobs and operator tell each other."""

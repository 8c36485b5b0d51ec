"""IO: the Kubernetes API, serving engines, the clock. Nothing is decided here."""

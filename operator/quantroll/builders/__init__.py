"""Manifests of everything that the operator makes: pure functions from typed values to dicts, one module per kind."""

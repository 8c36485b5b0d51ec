"""What a bare machine needs before anything else: system packages, pinned Go tools, Python environments.

Standard library only, so that it runs with the machine's own Python. Everything built goes to one cache folder outside
the checkout; see `cache`.
"""

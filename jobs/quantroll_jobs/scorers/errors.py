"""How the settings of a scorer fail."""


class ScoringError(ValueError):
    """The settings of a scorer cannot be used; the text names the field and what is wrong with it."""

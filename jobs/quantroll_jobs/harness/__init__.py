"""Scorer LMEval: tasks of lm-eval, in the one image that has it."""

"""Decisions: pure functions of what was observed and of the time. No IO, no clock of their own, no framework."""

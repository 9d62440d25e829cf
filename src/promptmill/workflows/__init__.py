"""Workflows: a config struct, the list of stages, nothing clever."""

"""Derived rows: pure functions over stored text."""

"""Completions: one protocol, its providers and the wrappers around them. Knows no task."""

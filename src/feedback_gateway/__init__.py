"""Feedback Gateway: what users write, as checked, structured, routed and summarised knowledge."""

__version__ = "0.1.0"

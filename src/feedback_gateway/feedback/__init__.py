"""Stored feedback: what users wrote, what was made of it and when, and what people corrected."""

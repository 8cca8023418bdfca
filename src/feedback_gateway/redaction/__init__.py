"""Redaction: personal data and secrets of a text become placeholders, and placeholders become what they stood for."""

"""Prompt files, their versions, and the messages rendered from them."""

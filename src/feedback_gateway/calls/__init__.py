"""The call log: what was asked, of whom, and what it cost."""

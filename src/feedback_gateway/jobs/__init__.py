"""Durable background work: runs are queued, tried, tried again and recorded once, whoever dies meanwhile."""

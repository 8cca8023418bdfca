"""The embedded student: labels, summaries and hints from small local models; no network, no language model."""

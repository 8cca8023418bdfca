"""Measures tasks on labelled rows: metrics, labelled sets and the run itself."""

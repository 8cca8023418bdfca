"""The product: a task is a prompt, its input and output schemas, and the checks on its answers."""

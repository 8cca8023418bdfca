"""Requests in OpenAI's own terms, passed on under the same keys, limits, budgets and log as the tasks."""

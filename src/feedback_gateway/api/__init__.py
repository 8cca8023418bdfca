"""The HTTP surface: all that knows FastAPI and Starlette, and nothing of SQL, prompts or prices."""

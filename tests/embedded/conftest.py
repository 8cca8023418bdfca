"""What the student's tests share: the small student that every installation has, and a taxonomy."""

from typing import Any

import pytest

from feedback_gateway.embedded.embedders import Embedder, load_embedder
from feedback_gateway.embedded.student import Student


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The embedder that needs no set-up."""
    return load_embedder("wordllama")


@pytest.fixture(scope="session")
def student() -> Student:
    """The student over that embedder."""
    return Student.load("wordllama")


@pytest.fixture
def taxonomy() -> dict[str, Any]:
    """Three categories with a few examples each."""
    return {
        "categories": [
            {
                "name": "bug",
                "description": "Something is broken",
                "subcategories": [
                    {"name": "performance", "description": "slow, hangs, takes long to load"},
                    {"name": "security", "description": "leak, vulnerability, password"},
                ],
                "examples": [
                    "The app crashes when I open it",
                    "Login fails with an error message",
                    "Export does not work any more",
                    "Crash after the last update",
                ],
            },
            {
                "name": "feature request",
                "description": "A wish for something new",
                "examples": [
                    "Please add a dark mode",
                    "It would be nice to have an export to CSV",
                    "Could you add support for calendars",
                    "I wish there was a widget",
                ],
            },
            {
                "name": "praise",
                "description": "The user is happy",
                "examples": ["Great app, love it", "Thanks, works perfectly", "Best tool I ever used", "Awesome work"],
            },
        ],
    }

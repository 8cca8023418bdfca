"""The gateway of the HTTP tests, without HTTP."""

from tests.api.conftest import folder, provider, services, settings

__all__ = ["folder", "provider", "services", "settings"]

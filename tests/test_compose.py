"""`compose.yaml` starts what there is: its settings are settings, its commands commands, and no password is known.

No container is started: that takes an engine, which tests cannot count on.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from feedback_gateway import __version__
from feedback_gateway.settings import load_settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")
SECRETS = {"POSTGRES_PASSWORD": "a" * 48, "REDIS_PASSWORD": "b" * 48, "KEYS_SECRET": "c" * 48}


def filled_in(text: str) -> str:
    """`text` with its variables as an operator sets them."""
    return VARIABLE.sub(lambda found: SECRETS[found[1]], text)


def test_two_gateways_a_worker_and_their_stores_are_there() -> None:
    """And what makes the tables before them, once."""
    assert set(SERVICES) == {"setup", "gateway-1", "gateway-2", "worker", "postgres", "redis"}
    assert SERVICES["setup"]["command"] == ["db", "upgrade"]
    for name in ("gateway-1", "gateway-2", "worker"):
        assert SERVICES[name]["depends_on"]["setup"] == {"condition": "service_completed_successfully"}
        assert SERVICES[name]["depends_on"]["postgres"] == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each has its effect, and all processes have the same."""
    environment = SERVICES[name]["environment"]
    for variable in [variable for variable in os.environ if variable.startswith("FEEDBACK_GATEWAY_")]:
        monkeypatch.delenv(variable)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, filled_in(value))
    monkeypatch.chdir(tmp_path)

    settings = load_settings()

    assert environment == SERVICES["setup"]["environment"]
    assert all(variable.startswith("FEEDBACK_GATEWAY_") for variable in environment)
    assert settings.database_url == f"postgresql://gateway:{SECRETS['POSTGRES_PASSWORD']}@postgres:5432/gateway"
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == f"redis://:{SECRETS['REDIS_PASSWORD']}@redis:6379/0"
    assert settings.keys.secret is not None
    assert settings.keys.secret.get_secret_value() == SECRETS["KEYS_SECRET"]


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_a_command(name: str) -> None:
    """With the options that it has."""
    command = [sys.executable, "-m", "feedback_gateway", *SERVICES[name]["command"], "--help"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_no_password_has_a_default() -> None:
    """Whoever forgets one is told so, and gets no database with a password that everybody knows."""
    found = VARIABLE.findall(TEXT)

    assert {name for name, _ in found} == set(SECRETS)
    assert all(rest.startswith(":?") for _, rest in found)
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${")
    assert SERVICES["redis"]["environment"]["REDISCLI_AUTH"].startswith("${")


def test_ports_are_this_machine_s_only() -> None:
    """Those of the gateways; the stores have none."""
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}

    assert {name for name, given in ports.items() if given} == {"gateway-1", "gateway-2"}
    assert all(port.startswith("127.0.0.1:") for given in ports.values() for port in given)


def test_images_are_pinned_by_version() -> None:
    """The gateway's by its own."""
    images = {service["image"] for service in SERVICES.values()}

    assert f"feedback-gateway:{__version__}" in images
    assert all(re.fullmatch(r"[a-z-]+:\d+(\.\d+)+", image) for image in images)


def test_everything_that_goes_on_has_a_health_check_and_comes_back() -> None:
    """And as long to finish as it may take."""
    for name, service in SERVICES.items():
        if name != "setup":
            assert service["healthcheck"]["test"]
            assert service["restart"] == "unless-stopped"
    assert all(SERVICES[name]["stop_grace_period"] == "80s" for name in OURS if name != "setup")


def test_image_fits() -> None:
    """Its entry point takes the commands, its user owns nothing, and it listens where the ports lead to."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")

    assert '\nENTRYPOINT ["feedback-gateway"]\n' in dockerfile
    assert "\nUSER 10001\n" in dockerfile
    for name in ("gateway-1", "gateway-2"):
        assert "0.0.0.0" in SERVICES[name]["command"]
        assert SERVICES[name]["ports"][0].endswith(f":{SERVICES[name]['command'][-1]}")
    assert "\nEXPOSE 8000\n" in dockerfile


def test_state_is_in_named_volumes_of_the_stores() -> None:
    """A gateway has none."""
    assert set(yaml.safe_load(TEXT)["volumes"]) == {"postgres"}
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]
    assert not any(SERVICES[name].get("volumes") for name in OURS)

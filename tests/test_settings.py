"""Every setting comes from the file or the environment, and what cannot work is refused by name."""

from datetime import timedelta
from pathlib import Path

import pytest

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.settings import Settings, load_settings

CONTRACT = """
model_list:
  - model_name: default
    litellm_params: {model: openai/gpt-5-mini, api_key: "${OPENAI_API_KEY}", rpm: 500, tpm: 200000, weight: 1}
  - model_name: default
    litellm_params: {model: anthropic/claude-haiku-4-5, api_key: os.environ/ANTHROPIC_API_KEY}
  - model_name: cheap
    litellm_params: {model: ollama/llama3, api_base: "http://localhost:11434", max_retries: 0, timeout: 20}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
fallbacks: {default: [cheap]}
tasks:
  summarize: {model: default}
  classify: {model: default, version: 1, canary: {version: 2, share: 0.05}, shadow: 3}
database_url: sqlite:///feedback-gateway.db
redis_url: null
cache: {ttl: 24h, max_entries: 100000}
retry: {attempts: 3, deadline: 30s}
log: {payloads: redacted, retention: 30d}
webhooks: {zendesk: {secret: "${ZENDESK_SECRET}", write_back: {dry_run: true}}}
digests: [{name: daily, schedule: "0 7 * * *", timezone: Europe/Berlin, audience: support}]
alerts: [{when: "severity == 'critical'", notify: [{email: oncall@example.com}], escalate_after: 15m}]
"""
SECRETS = {"OPENAI_API_KEY": "sk-one", "ANTHROPIC_API_KEY": "sk-two", "ZENDESK_SECRET": "three"}


def written(folder: Path, text: str) -> Path:
    """A configuration file."""
    file = folder / "gateway.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_file_and_environment_the_embedded_model_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file at all is a working configuration."""
    monkeypatch.chdir(tmp_path)

    settings = load_settings(environ={})

    assert [entry.litellm_params.model for entry in settings.model_list] == ["embedded/student"]
    assert settings.database_url == "sqlite:///feedback-gateway.db"


def test_documented_configuration_is_read_with_its_references(tmp_path: Path) -> None:
    """Both ways to name an environment variable are filled in, durations are understood."""
    settings = load_settings(written(tmp_path, CONTRACT), environ=SECRETS)

    keys = [entry.litellm_params.api_key for entry in settings.model_list]
    assert [key.get_secret_value() if key else None for key in keys] == ["sk-one", "sk-two", None]
    assert settings.retry.deadline == timedelta(seconds=30)
    assert settings.log.retention == timedelta(days=30)


def test_a_printed_configuration_shows_no_key(tmp_path: Path) -> None:
    """A provider's key stays out of every representation."""
    settings = load_settings(written(tmp_path, CONTRACT), environ=SECRETS)

    assert "sk-one" not in repr(settings)
    assert "sk-one" not in settings.model_dump_json()


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Every value can be set by its section and name."""
    environ = SECRETS | {
        "FEEDBACK_GATEWAY_RETRY__ATTEMPTS": "5",
        "FEEDBACK_GATEWAY_RETRY__DEADLINE": "90s",
        "FEEDBACK_GATEWAY_DATABASE_URL": "sqlite:///other.db",
        "FEEDBACK_GATEWAY_FALLBACKS": "{default: []}",
    }

    settings = load_settings(written(tmp_path, CONTRACT), environ=environ)

    assert settings.retry.attempts == 5
    assert settings.retry.deadline == timedelta(seconds=90)
    assert settings.database_url == "sqlite:///other.db"
    assert settings.fallbacks == {"default": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retries: {attempts: 3}", "retries: there is no such setting; did you mean retry? There are: model_list, "),
        ("modle_list: []", "did you mean model_list?"),
        ("retry: {attemps: 3}", "retry.attemps: there is no such setting; did you mean attempts?"),
        ("model_list: [{model_name: a}]", "model_list.0.litellm_params: is missing"),
        ("model_list: [{model_name: a, litelm_params: {}}]", "litellm_params"),
        ("tasks: {classify: {modle: a}}", "tasks.classify.modle: there is no such setting; did you mean model?"),
        ("retry: {deadline: 3 parsecs}", "retry.deadline: must be a duration"),
        ("retry: {attempts: 0}", "retry.attempts"),
        ("model_list:\n  - litellm_params: {api_key: sk-secret, weight: ]}", "gateway.yaml:2: no valid YAML"),
        ("retry: {attempts: 2}\nretry: {attempts: 3}", "gateway.yaml:2: no valid YAML: a key stands twice"),
        ("fallbacks: {default: [default]}", "fallbacks.default names a model that was asked before"),
        ("model_list: [{model_name: '', litellm_params: {model: a/b}}]", "model_list.0.model_name"),
        ("retry: {deadline: soon}", "retry.deadline"),
        ("retry: {deadline: 0s}", "retry.deadline"),
        ("retry: {deadline: -3}", "retry.deadline"),
        ("model_list: []", "model_list"),
        ("log: {retention: 500d}", "rollups: must be kept at least as long as the calls are"),
        ("fallbacks: {default: [cheap]}", "fallbacks.default names the model 'cheap'"),
        ("tasks: {classify: {model: best}}", "tasks.classify names the model 'best'"),
        ("context_window_fallbacks: {default: [cheap]}", "context_window_fallbacks.default names the model 'cheap'"),
        ("content_policy_fallbacks: {default: [default]}", "content_policy_fallbacks.default names a model that"),
        ("fallbacks: [{default: [a]}, {default: [b]}]", "fallbacks"),
        ("routing: {strategy: best}", "routing.strategy"),
        ("routing: {cooldown: 10m}", "cooldown: must not be longer than max_cooldown"),
        ("routing: {aliases: {cheap: {hedge: true}}}", "routing.aliases.cheap names the model 'cheap'"),
        ("routing: {aliases: {default: {cooldown: 1s}}}", "routing.aliases.default.cooldown: there is no such setting"),
        ("redis_url: ${REDIS}", "the environment has no REDIS"),
        ("- a\n- b", "must hold settings"),
        ("a: [", "no valid YAML"),
        ("model_list: [{model_name: a, litellm_params: {model: x/y, api_key: sk-secret, weight: -1}}]", "weight"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    """The operator learns which setting it is; a key beside it is not repeated."""
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(written(tmp_path, text), environ={})

    assert message in refusal.value.detail
    assert "\n" not in refusal.value.detail
    assert "sk-secret" not in refusal.value.detail


def test_fallbacks_and_strategies_are_read_as_litellm_writes_them(tmp_path: Path) -> None:
    """Lists of mappings, and its names of strategies; an alias may do otherwise than the others."""
    text = CONTRACT.replace("fallbacks: {default: [cheap]}", "fallbacks: [{default: [cheap]}, {cheap: [default]}]")
    text += """
context_window_fallbacks: [{default: [cheap]}]
routing: {strategy: latency-based-routing, aliases: {cheap: {strategy: simple-shuffle, hedge: true}}}
"""

    settings = load_settings(written(tmp_path, text), environ=SECRETS)

    assert settings.fallbacks == {"default": ["cheap"], "cheap": ["default"]}
    assert settings.context_window_fallbacks == {"default": ["cheap"]}
    assert settings.routing.of("default") == {"strategy": "lowest_latency", "hedge": False}
    assert settings.routing.of("cheap") == {"strategy": "weight", "hedge": True}


def test_slip_in_the_environment_is_named_without_its_value(tmp_path: Path) -> None:
    """A key may stand in it."""
    environ = {"FEEDBACK_GATEWAY_MODEL_LIST": "[{sk-secret"}

    with pytest.raises(ConfigurationError) as refusal:
        load_settings(written(tmp_path, ""), environ=environ)

    assert "FEEDBACK_GATEWAY_MODEL_LIST" in refusal.value.detail
    assert "sk-secret" not in refusal.value.detail


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A path that was given must be there."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml", environ={})


def test_every_setting_is_in_the_readme() -> None:
    """A setting that nobody is told of does not exist."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

    assert [name for name in Settings.model_fields if f"`{name}" not in readme] == []

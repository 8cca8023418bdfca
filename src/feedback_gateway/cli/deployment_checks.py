"""The checks of `doctor` that can be made of a deployment without asking its provider; none of them shows a key."""

import difflib
from collections.abc import Iterator, Mapping

from feedback_gateway.cli.findings import Finding
from feedback_gateway.llm.models import Deployment
from feedback_gateway.llm.price_table import PriceTable
from feedback_gateway.settings import DeploymentParams, Settings

PLACEHOLDERS = ("sk-...", "your-", "changeme", "xxx", "<", "todo", "example")
OWN_SERVERS: Mapping[str, str] = {
    "custom_openai": "",
    "docker_model_runner": "http://localhost:12434/engines/v1",
    "hosted_vllm": "",
    "infinity": "",
    "litellm_proxy": "",
    "llamafile": "http://127.0.0.1:8080/v1",
    "lm_studio": "",
    "ollama": "http://localhost:11434",
    "ollama_chat": "http://localhost:11434",
    "oobabooga": "",
    "openai_like": "",
    "triton": "",
    "xinference": "",
}
"""Servers that operators run themselves, and where LiteLLM looks for one that has no `api_base`."""
KEYLESS = frozenset({*OWN_SERVERS, "bedrock", "sagemaker", "sagemaker_chat", "vertex_ai", "vertex_ai_beta"})
UNPRICED = (
    "ai21_chat aiohttp_openai anthropic_text bytez chutes clarifai cometapi compactifai datarobot empower galadriel "
    "github huggingface maritalk modelscope nano-gpt nvidia_riva openrouter parasail petals poe predibase reka "
    "sagemaker_chat sap synthetic topaz vertex_ai_beta vllm watsonx_text"
)
"""Providers of which LiteLLM's price table has no row under their own name, separated by spaces."""
DEFAULT_TIMEOUT_S: float = DeploymentParams.model_fields["timeout"].default


def known_providers(table: PriceTable) -> frozenset[str]:
    """The names that may stand before the `/` of a model."""
    owners = {str(row["litellm_provider"]) for row in table.values()}
    return frozenset({*owners, *(owner.split("-")[0] for owner in owners), *OWN_SERVERS, *UNPRICED.split()})


def check_provider(deployment: Deployment, *, known: frozenset[str]) -> Iterator[Finding]:
    """The first thing that is wrong with a provider's deployment, or that nothing is."""
    part = f"deployment {deployment.name} ({deployment.alias})"
    provider, slash, _ = deployment.model.partition("/")
    if not slash:
        mend = f"write openai/{deployment.model}, or whichever provider it is"
        yield Finding(state="fail", part=part, message="the model names no provider", mend=mend)
        return
    if provider not in known:
        near = difflib.get_close_matches(provider, sorted(known), n=2, cutoff=0.7)
        mend = f"did you mean {' or '.join(near)}?" if near else "write provider/model as LiteLLM lists them"
        yield Finding(state="warn", part=part, message=f"the provider {provider!r} is not known", mend=mend)
        return
    flaws = [
        *check_names(deployment, part=part),
        *check_key(deployment, provider, part=part),
        *check_address(deployment, provider, part=part),
    ]
    if deployment.rates is None:
        mend = "give input_cost_per_token and output_cost_per_token in litellm_params"
        message = "its price is not known: costs are shown as unknown"
        flaws.append(Finding(state="warn", part=part, message=message, mend=mend))
    yield from flaws[:1] or [Finding(state="ok", part=part, message="has a key or needs none; its price is known")]


def check_names(deployment: Deployment, *, part: str) -> Iterator[Finding]:
    """Names that go to the provider as they are, and are nearly one of ours."""
    ours = [*DeploymentParams.model_fields, "api_base", "api_version"]
    for name in deployment.params:
        near = [] if name in ours else difflib.get_close_matches(name, ours, n=1, cutoff=0.8)
        if near:
            message = f"litellm_params.{name} goes to the provider"
            yield Finding(state="warn", part=part, message=message, mend=f"did you mean {near[0]}?")


def check_key(deployment: Deployment, provider: str, *, part: str) -> Iterator[Finding]:
    """A key that is missing, or that was left as a template has it."""
    key = str(deployment.params.get("api_key", ""))
    if key and any(mark in key.lower() for mark in PLACEHOLDERS):
        mend = "give the key, best as ${NAME} from the environment"
        yield Finding(state="fail", part=part, message="api_key is a placeholder", mend=mend)
    elif not key and provider not in KEYLESS:
        mend = "set litellm_params.api_key, best as ${NAME} from the environment"
        yield Finding(state="warn", part=part, message="no api_key", mend=mend)


def check_address(deployment: Deployment, provider: str, *, part: str) -> Iterator[Finding]:
    """A server of the operator's own that nobody said the address of."""
    if provider in OWN_SERVERS and not (deployment.params.get("api_base") or deployment.params.get("base_url")):
        default = OWN_SERVERS[provider]
        message = f"no api_base; {default} would be asked" if default else "no api_base: where to ask is not known"
        yield Finding(state="warn", part=part, message=message, mend="set litellm_params.api_base to its URL")


def check_time(deployment: Deployment, settings: Settings) -> Iterator[Finding]:
    """A time limit that was given and that no attempt can use."""
    deadline = settings.retry.deadline.total_seconds()
    if not deployment.timeout_s > max(deadline, DEFAULT_TIMEOUT_S):
        return
    message = f"an attempt may take {deployment.timeout_s:g} s, but a call ends after {deadline:g} s"
    mend = f"set retry.deadline to {deployment.timeout_s + 10:g}s, say, or lower litellm_params.timeout"
    yield Finding(state="warn", part=f"timeout of {deployment.name} ({deployment.alias})", message=message, mend=mend)

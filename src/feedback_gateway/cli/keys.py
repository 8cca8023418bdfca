"""`keys create|list|rotate|revoke`: a key is shown once, when it is made."""

from typing import TYPE_CHECKING, Annotated

import typer

from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.terminal import format_table, line_width

if TYPE_CHECKING:
    from datetime import datetime

    from feedback_gateway.consumers.models import NewKey

app = typer.Typer(no_args_is_help=True, help="Keys: shown once, when they are made.")

ADMIN = "admin"
IdArgument = Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")]


@app.command("create")
def create(
    *,
    consumer: Annotated[str | None, typer.Option(help="Whose key; `admin` for an admin key without one.")] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="May administer. With the first one every request needs a key.")
    ] = False,
    expires: Annotated[str | None, typer.Option(help="90d, 12h, 2027-03-01; never without it.")] = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and show it, this once."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.consumers.models import Consumer
    from feedback_gateway.errors import ConfigurationError, NotFound
    from feedback_gateway.settings import load_settings

    if consumer is None and not admin:
        raise ConfigurationError("keys create: name whose key it is, with --consumer NAME")
    name = consumer or ADMIN
    with open_administration(load_settings(config)) as administration:
        expires_at = None if expires is None else moment_ahead(expires, now=administration.clock.now())
        if consumer is None:
            try:
                administration.consumers.find(name)
            except NotFound:
                administration.consumers.add(Consumer(name=name))
        made = administration.consumers.create_key(name, is_admin=admin, expires_at=expires_at)
    show(made)


@app.command("list")
def list_all(
    *,
    consumer: Annotated[str | None, typer.Option(help="Only of this consumer.")] = None,
    config: ConfigOption = None,
) -> None:
    """Show all keys, without what would let anybody in."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    rows = []
    with open_administration(load_settings(config)) as administration:
        now, after = administration.clock.now(), None
        while page := administration.consumers.list_keys(consumer=consumer, after=after):
            after = page[-1].id
            for key in page:
                state = "active"
                if key.revoked_at is not None:
                    state = "revoked"
                elif key.expires_at is not None:
                    state = f"{'expired' if key.expires_at <= now else 'until'} {key.expires_at:%Y-%m-%d %H:%M}"
                kind = "admin" if key.is_admin else ""
                rows.append([key.id, key.prefix + "…", key.consumer, kind, state, f"{key.created_at:%Y-%m-%d %H:%M}"])
    if not rows:
        typer.echo("No keys; make one with `feedback-gateway keys create`.")
        return
    typer.echo(format_table(("id", "key", "consumer", "", "state", "made"), rows, width=line_width()))


@app.command("rotate")
def rotate(
    key_id: IdArgument,
    *,
    grace: Annotated[str, typer.Option(help="How long the old key goes on: 0s, 24h, 7d.")] = "0s",
    config: ConfigOption = None,
) -> None:
    """Make a key in place of another, and show it, this once."""
    from feedback_gateway.api.admin_bodies import RotationBody, validated
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    body = validated(RotationBody, {"grace": grace})
    with open_administration(load_settings(config)) as administration:
        made = administration.consumers.rotate_key(key_id, grace=body.grace)
    show(made)


@app.command("revoke")
def revoke(key_id: IdArgument, *, config: ConfigOption = None) -> None:
    """Refuse a key from now on."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    with open_administration(load_settings(config)) as administration:
        key = administration.consumers.revoke_key(key_id)
    typer.echo(f"revoked {key.prefix}… of {key.consumer}")


def show(made: "NewKey") -> None:
    """The key alone on standard output, so that it can be piped; the rest beside it."""
    rights = "an admin key" if made.key.is_admin else "a key"
    until = "" if made.key.expires_at is None else f", until {made.key.expires_at:%Y-%m-%d %H:%M} UTC"
    typer.echo(f"{rights} of {made.key.consumer}{until}, id {made.key.id}; it is shown only now:", err=True)
    typer.echo(made.secret)


def moment_ahead(value: str, *, now: "datetime") -> "datetime":
    """A moment to come: so long from now, or a date. Raises ConfigurationError."""
    from datetime import timedelta

    from feedback_gateway.calls.reports import parse_moment
    from feedback_gateway.errors import ConfigurationError, InvalidRequest
    from feedback_gateway.settings import parse_duration

    try:
        ahead = parse_duration(value)
        moment = now + ahead if isinstance(ahead, timedelta) else parse_moment(value, now=now, name="--expires")
    except (InvalidRequest, OverflowError):
        raise ConfigurationError(f"--expires {value}: write 90d, 12h or a date such as 2027-03-01") from None
    if moment <= now:
        raise ConfigurationError(f"--expires {value}: lies in the past")
    return moment

"""Who calls, over both databases: authentication, keys, consumers and their budgets."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select

from feedback_gateway.clock import ManualClock, SystemClock
from feedback_gateway.consumers.keys import digest_of
from feedback_gateway.consumers.models import LOCAL_CONSUMER, Consumer, Limits, Scopes
from feedback_gateway.consumers.repository import ConsumerRepository
from feedback_gateway.consumers.service import Consumers
from feedback_gateway.consumers.tables import keys, secrets
from feedback_gateway.errors import Conflict, NotFound, Unauthorized
from feedback_gateway.ledger.models import Budget

ACME = Consumer(
    name="acme",
    budgets=(
        Budget(limit_usd=Decimal("0.100000000000000001"), period="month", warn_at=Decimal("0.25")),
        Budget(limit_usd=Decimal(0), period="total", task="mood"),
    ),
    limits=Limits(requests_per_minute=0, tokens_per_minute=2**31 - 1),
    scopes=Scopes(tasks=frozenset({"mood", "classify"}), models=frozenset()),
)
Service = Callable[..., Consumers]


@pytest.fixture
def clock() -> ManualClock:
    """Stands still."""
    return ManualClock()


@pytest.fixture
def service(engine: Engine, clock: ManualClock) -> Service:
    """Makes the service as each process does."""

    def make(**options: Any) -> Consumers:
        return Consumers(ConsumerRepository(engine), clock, **options)

    return make


def test_consumer_comes_back_as_it_was_added(service: Service) -> None:
    """To the last digit, zero limits and empty scopes included."""
    added = service().add(ACME)

    assert service().find("acme") == service().find(str(added.id)) == added
    assert service().list_consumers() == [added]
    assert (added.budgets, added.limits, added.scopes) == (ACME.budgets, ACME.limits, ACME.scopes)
    assert service().change("acme", {"budgets": ()}).budgets == ()
    assert service().find("acme").budgets == ()


def test_name_is_taken_once(service: Service) -> None:
    """And neither its budgets nor anything else of the second one is stored."""
    added = service().add(ACME)

    with pytest.raises(Conflict, match="'acme' already"):
        service().add(Consumer(name="acme", budgets=(Budget(limit_usd=Decimal(9), period="day", task="x"),)))

    assert service().list_consumers() == [added]


def test_consumers_that_are_changed_at_once_keep_every_change(engine: Engine) -> None:
    """Two administrators, two fields, no change lost."""
    service = Consumers(ConsumerRepository(engine), SystemClock())
    service.add(Consumer(name="acme"))
    changes: list[dict[str, Any]] = [
        {"limits": Limits(requests_per_minute=7)},
        {"scopes": Scopes(tasks=frozenset({"mood"}))},
        {"budgets": ACME.budgets},
        {"disabled_at": SystemClock().now()},
    ]

    with ThreadPoolExecutor(len(changes)) as threads:
        for _ in range(5):
            service.change("acme", {"limits": Limits(), "scopes": Scopes(), "budgets": (), "disabled_at": None})
            list(threads.map(lambda change: service.change("acme", change), changes))
            found = service.find("acme")
            assert (found.limits.requests_per_minute, found.budgets) == (7, ACME.budgets)
            assert (found.scopes.tasks, found.disabled_at is None) == (frozenset({"mood"}), False)


def test_key_is_stored_as_its_keyed_hash_alone(service: Service, engine: Engine) -> None:
    """No column of any row holds it."""
    service().add(ACME)
    made = service(secret="s" * 32).create_key("acme")

    with engine.connect() as connection:
        [row] = connection.execute(select(keys)).mappings()

    assert row["digest"] == digest_of(made.secret, secret="s" * 32)
    assert row["prefix"] == made.secret[:9]
    assert made.secret not in str(dict(row))
    assert made.secret not in repr(made.key)


def test_database_alone_does_not_verify_where_the_secret_is_elsewhere(service: Service, engine: Engine) -> None:
    """Neither with another secret, nor with the one that the database would make up."""
    service().add(ACME)
    made = service(secret="s" * 32).create_key("acme")

    with engine.connect() as connection:
        kept = connection.execute(select(secrets)).all()

    assert kept == []
    assert service(secret="s" * 32).authenticate(made.secret, is_local=False).consumer.name == "acme"
    for other in ("t" * 32, None):
        with pytest.raises(Unauthorized):
            service(secret=other).authenticate(made.secret, is_local=True)


def test_processes_share_the_secret_that_the_database_keeps(engine: Engine) -> None:
    """Also where they begin at the same moment: a key that one makes, all know."""
    Consumers(ConsumerRepository(engine), SystemClock()).add(ACME)
    processes = [Consumers(ConsumerRepository(engine), SystemClock()) for _ in range(8)]

    with ThreadPoolExecutor(len(processes)) as threads:
        made = list(threads.map(lambda one: one.create_key("acme").secret, processes))

    for key in made:
        for process in processes:
            assert process.authenticate(key, is_local=False).consumer.name == "acme"


def test_key_counts_up_to_the_moment_at_which_it_ends(service: Service, clock: ManualClock) -> None:
    """And not at that moment."""
    service().add(ACME)
    key = service().create_key("acme", expires_at=clock.now() + timedelta(seconds=10)).secret

    clock.advance(9.999)
    assert not service().authenticate(key, is_local=False).is_admin
    clock.advance(0.001)
    with pytest.raises(Unauthorized, match="unknown, revoked or expired"):
        service().authenticate(key, is_local=False)


def test_rotation_never_lets_an_old_key_live_longer(service: Service, clock: ManualClock) -> None:
    """The grace time is at most what it had left, and the new key ends when the old one would have."""
    service().add(ACME)
    soon = clock.now() + timedelta(hours=1)
    old = service().create_key("acme", is_admin=True, expires_at=soon)

    new = service().rotate_key(old.key.id, grace=timedelta(days=1))

    assert service().key(old.key.id).expires_at == soon
    assert (new.key.consumer, new.key.is_admin, new.key.expires_at) == ("acme", True, soon)
    assert service().authenticate(new.secret, is_local=False).is_admin
    clock.advance(3600)
    with pytest.raises(Unauthorized):
        service().authenticate(old.secret, is_local=False)


def test_revoked_key_stays_revoked(service: Service, clock: ManualClock) -> None:
    """Since the first time, whatever is tried with it."""
    service().add(ACME)
    made = service().create_key("acme")
    revoked = service().revoke_key(made.key.id)
    clock.advance(60)

    assert service().revoke_key(made.key.id) == revoked
    for attempt in (
        lambda: service().rotate_key(made.key.id),
        lambda: service().change_key(made.key.id, expires_at=None),
    ):
        with pytest.raises(Conflict):
            attempt()
    with pytest.raises(Unauthorized):
        service().authenticate(made.secret, is_local=True)
    assert service().list_keys() == [revoked]


def test_nobody_needs_a_key_on_loopback_until_there_was_an_admins(service: Service) -> None:
    """A plain one closes nothing; an admin's does so for every process, those included that run already."""
    running = service()
    running.add(ACME)
    running.create_key("acme")
    assert running.authenticate(None, is_local=True).consumer == LOCAL_CONSUMER
    assert running.authenticate(None, is_local=True).is_admin
    with pytest.raises(Unauthorized):
        running.authenticate(None, is_local=False)

    made = service().create_key("acme", is_admin=True)
    service().revoke_key(made.key.id)

    for process in (running, service()):
        with pytest.raises(Unauthorized, match="send a key"):
            process.authenticate(None, is_local=True)


def test_whoever_works_on_this_machine_may_have_limits(service: Service) -> None:
    """Those of a consumer of that name."""
    added = service().add(Consumer(name="local", limits=Limits(requests_per_minute=3)))

    assert service().authenticate(None, is_local=True).consumer == added


@pytest.mark.parametrize("wanted", ["nobody", "", "\0", "' OR 1=1 --", "x" * 10_000, "%"])
def test_what_there_is_not_is_not_found(service: Service, wanted: str) -> None:
    """Consumers and keys."""
    service().add(ACME)

    for attempt in (
        lambda: service().find(wanted),
        lambda: service().change(wanted, {}),
        lambda: service().disable(wanted),
        lambda: service().create_key(wanted),
        lambda: service().key(wanted),
        lambda: service().rotate_key(wanted),
        lambda: service().revoke_key(wanted),
        lambda: service().change_key(wanted, expires_at=None),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert service().list_keys() == []


def test_id_goes_before_a_name(service: Service) -> None:
    """Where one consumer is named like another's id."""
    first = service().add(Consumer(name="first"))
    service().add(Consumer(name=str(first.id)))

    assert service().find(str(first.id)) == first
    assert service().create_key(str(first.id)).key.consumer == "first"


def test_lists_go_on_where_they_ended(service: Service, clock: ManualClock) -> None:
    """In the order in which things were made."""
    names = [f"c{number}" for number in range(7)]
    for name in names:
        service().add(Consumer(name=name))
        service().create_key(name)
        clock.advance(1)

    first = service().list_consumers(limit=3)
    rest = service().list_consumers(after=first[-1].id)
    some = service().list_keys(limit=4)
    others = service().list_keys(after=some[-1].id)

    assert [one.name for one in (*first, *rest)] == names
    assert [one.consumer for one in (*some, *others)] == names
    assert [one.consumer for one in service().list_keys(consumer="c3")] == ["c3"]


def test_process_that_has_known_an_admin_key_never_opens_again(service: Service, engine: Engine) -> None:
    """Not even where the database that held it is lost and begun anew."""
    by_start, by_key, by_making = service(), service(), service()
    by_making.add(ACME)
    made = by_making.create_key("acme", is_admin=True)
    assert by_start.is_closed()
    by_key.authenticate(made.secret, is_local=True)
    with engine.begin() as connection:
        connection.execute(delete(keys))

    for process in (by_start, by_key, by_making):
        with pytest.raises(Unauthorized):
            process.authenticate(None, is_local=True)
    assert service().authenticate(None, is_local=True).is_admin  # one that has known none


def test_whoever_works_on_this_machine_can_be_disabled(service: Service) -> None:
    """As any other consumer, and enabled again."""
    consumers = service()
    consumers.add(Consumer(name="local"))
    consumers.disable("local")

    with pytest.raises(Unauthorized, match="disabled"):
        consumers.authenticate(None, is_local=True)
    consumers.change("local", {"disabled_at": None})
    assert consumers.authenticate(None, is_local=True).is_admin

"""Opening a database that can be used, and saying what is wrong with one that cannot."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, inspect, text

from feedback_gateway.errors import ConfigurationError, GatewayError, Unavailable
from feedback_gateway.storage.engine import open_engine, storage_errors, upgrade
from feedback_gateway.storage.sqlite import explain

Open = Callable[[Path], Engine]


@pytest.fixture
def open_file() -> Iterator[Open]:
    """Opens engines and disposes of them."""
    engines: list[Engine] = []

    def open_file(path: Path) -> Engine:
        engines.append(open_engine(f"sqlite:///{path}"))
        return engines[-1]

    yield open_file
    for engine in engines:
        engine.dispose()


def failure(of: Callable[[], object]) -> GatewayError:
    """The error that `of` ends with."""
    with pytest.raises(GatewayError) as caught:
        of()
    return caught.value


def test_upgrade_makes_the_schema(open_file: Open, tmp_path: Path) -> None:
    """A file that was not there is ready afterwards."""
    engine = open_file(tmp_path / "new.db")

    upgrade(engine)

    assert set(inspect(engine).get_table_names()) >= {"calls", "attempts"}


def test_upgrade_twice_changes_nothing(open_file: Open, tmp_path: Path) -> None:
    """Every start calls it."""
    engine = open_file(tmp_path / "new.db")
    upgrade(engine)
    before = (tmp_path / "new.db").stat().st_size

    upgrade(engine)

    assert (tmp_path / "new.db").stat().st_size == before


def test_a_database_is_written_ahead_and_synced(open_file: Open, tmp_path: Path) -> None:
    """A commit survives a kill and a power cut, and readers do not wait."""
    engine = open_file(tmp_path / "new.db")

    with engine.connect() as connection:
        pragmas = [
            connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert pragmas == ["wal", 2, 1]


def test_processes_that_start_together_agree_on_one_schema(tmp_path: Path) -> None:
    """Workers start at the same moment; each must find or make the schema."""
    program = (
        "import sys; from feedback_gateway.storage.engine import *;"
        "engine = open_engine(sys.argv[1]); upgrade(engine); engine.dispose()"
    )
    command = [sys.executable, "-W", "error", "-c", program, f"sqlite:///{tmp_path / 'shared.db'}"]

    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [worker.communicate()[1] for worker in workers]

    assert errors == [""] * 4


def test_alembic_stays_unloaded_while_the_schema_is_current(open_file: Open, tmp_path: Path) -> None:
    """It would cost every start a good tenth of a second."""
    upgrade(open_file(tmp_path / "ready.db"))
    program = (
        "import sys; from feedback_gateway.storage.engine import *;"
        "engine = open_engine(sys.argv[1]); upgrade(engine); engine.dispose(); print('alembic' in sys.modules)"
    )

    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path / 'ready.db'}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert out.strip() == "False"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "no URL"),
        ("", "no URL"),
        ("mysql://me:secret@host/db", "'mysql' is not supported"),
        ("postgresql+asyncpg://me:secret@host/db", "is not supported"),
        ("postgresql://me:secret@host", "name the database"),
        ("postgresql://me:secret@host/db?colour=red", "colour"),
        ("postgresql://me:secret@host:door/db", "no URL"),
        ("sqlite://", "name the file"),
        ("sqlite:///:memory:", "name the file"),
        ("sqlite:///file:x?mode=ro&uri=true", "name the file"),
    ],
)
def test_a_url_that_cannot_be_is_refused_without_its_password(url: str, says: str) -> None:
    """Before anything is opened."""
    error = failure(lambda: open_engine(url))

    assert isinstance(error, ConfigurationError)
    assert says in error.detail
    assert error.detail.startswith("database_url: ")
    assert "secret" not in error.detail


def test_a_missing_folder_is_named(open_file: Open, tmp_path: Path) -> None:
    """SQLite only says that it cannot open the file."""
    error = failure(lambda: upgrade(open_file(tmp_path / "absent" / "x.db")))

    assert isinstance(error, ConfigurationError)
    assert "the folder does not exist" in error.detail
    assert "absent" in error.detail


def test_a_folder_is_no_database(open_file: Open, tmp_path: Path) -> None:
    """The name of a folder where a file is wanted."""
    error = failure(lambda: upgrade(open_file(tmp_path)))

    assert isinstance(error, ConfigurationError)
    assert "is a folder" in error.detail


def test_a_file_that_is_no_database_is_left_alone(open_file: Open, tmp_path: Path) -> None:
    """It may be somebody's letter."""
    file = tmp_path / "letter.txt"
    file.write_text("Dear database, " * 100)

    error = failure(lambda: upgrade(open_file(file)))

    assert isinstance(error, ConfigurationError)
    assert "is no SQLite database" in error.detail
    assert file.read_text() == "Dear database, " * 100


def test_a_damaged_database_says_so(open_file: Open, tmp_path: Path) -> None:
    """The header is sound, the rest is not."""
    file = tmp_path / "damaged.db"
    engine = open_file(file)
    upgrade(engine)
    engine.dispose()
    content = bytearray(file.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    file.write_bytes(content)

    error = failure(lambda: upgrade(open_file(file)))

    assert isinstance(error, ConfigurationError)
    assert "is damaged" in error.detail


@pytest.mark.parametrize("version", ["0007", "9999", "3f2a7c1b9d10"])
def test_a_newer_schema_is_refused(open_file: Open, tmp_path: Path, version: str) -> None:
    """An old program must not write into what it does not understand."""
    engine = open_file(tmp_path / "newer.db")
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})

    error = failure(lambda: upgrade(engine))

    assert isinstance(error, ConfigurationError)
    assert version in error.detail
    assert "newer" in error.detail


def test_a_full_disk_is_told_and_leaves_nothing_behind(open_file: Open, tmp_path: Path) -> None:
    """SQLite's own limit of pages stands in for the disk."""
    engine = open_file(tmp_path / "full.db")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 2"))

    error = failure(lambda: upgrade(engine))

    assert isinstance(error, Unavailable)
    assert "the disk is full" in error.detail
    assert inspect(engine).get_table_names() == []


def test_a_locked_database_is_unavailable_for_now(open_file: Open, tmp_path: Path) -> None:
    """After the wait for the lock, which is cut short here."""
    file = tmp_path / "locked.db"
    engine = open_file(file)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 10"))
    upgrade(engine)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    error = failure(lambda: upgrade(engine))
    holder.close()

    assert isinstance(error, Unavailable)
    assert "another process holds it locked" in error.detail
    assert error.retry_after == 1.0


def test_a_database_that_may_only_be_read_is_a_wrong_configuration(open_file: Open, tmp_path: Path) -> None:
    """Root may write everywhere, so SQLite itself refuses here."""
    engine = open_file(tmp_path / "read-only.db")
    upgrade(engine)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
    engine.dispose()

    def write() -> None:
        with storage_errors(engine), engine.begin() as connection:
            connection.execute(text("DELETE FROM calls"))

    error = failure(write)

    assert isinstance(error, ConfigurationError)
    assert "cannot be written" in error.detail


def test_a_failure_nobody_foresaw_is_passed_on_in_sqlites_words() -> None:
    """Better a strange sentence than none."""
    error = explain(sqlite3.OperationalError("disk I/O error"), open_engine("sqlite:///x.db").url, "x.db")

    assert isinstance(error, Unavailable)
    assert "disk I/O error" in error.detail


def test_a_table_in_the_way_stops_the_upgrade_as_a_whole(open_file: Open, tmp_path: Path) -> None:
    """Half a schema would be worse than none."""
    engine = open_file(tmp_path / "theirs.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE attempts (theirs TEXT)"))

    error = failure(lambda: upgrade(engine))

    assert "attempts already exists" in error.detail
    assert inspect(engine).get_table_names() == ["attempts"]


def test_a_file_that_was_removed_in_use_is_begun_anew(open_file: Open, tmp_path: Path) -> None:
    """One answer says so; after that rows go to a file that is there, not to the one that is gone."""
    engine = open_file(tmp_path / "calls.db")
    upgrade(engine)
    for file in tmp_path.glob("calls.db*"):
        file.unlink()

    def count() -> object:
        with storage_errors(engine), engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM calls"))

    assert isinstance(failure(count), Unavailable)
    assert count() == 0
    assert (tmp_path / "calls.db").exists()


def test_a_file_that_cannot_be_reached_any_more_is_told_as_such(
    open_file: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its folder's rights were taken away: an error of ours, so that rows wait for better times."""
    folder = tmp_path / "data"
    folder.mkdir()
    engine = open_file(folder / "calls.db")
    upgrade(engine)
    folder.rename(tmp_path / "elsewhere")

    def forbidden(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.stat", forbidden)

    def count() -> object:
        with storage_errors(engine), engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM calls"))

    assert isinstance(failure(count), ConfigurationError)


def test_a_file_that_was_put_in_place_of_another_is_the_one_that_is_read(open_file: Open, tmp_path: Path) -> None:
    """As after a backup was restored under a running gateway."""
    engine, other = open_file(tmp_path / "calls.db"), open_file(tmp_path / "other.db")
    for one in (engine, other):
        upgrade(one)
    with other.begin() as connection:
        connection.execute(text("CREATE TABLE restored (id INTEGER)"))
    other.dispose()

    for file in tmp_path.glob("calls.db*"):
        file.unlink()
    (tmp_path / "other.db").rename(tmp_path / "calls.db")

    with engine.connect() as connection:
        assert inspect(connection).has_table("restored")

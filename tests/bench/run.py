"""`make bench`: every figure, as a table and as bench-results/figures.json. `--rounds N` for more or fewer of them."""

import argparse
import compileall
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import tmsync
from tests.bench import serve, telemetry
from tests.bench.measure import Figure, side_by_side
from tests.support.bring import add_to_path
from tests.support.standin import running
from tmsync.demo.broker import find_mosquitto
from tmsync.demo.postgres import PrivatePostgres, find_binaries
from tmsync.demo.teslamate import TABLES, access_token, refresh_token, sealed, token_row, token_table

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PASSWORD, KEY = "bench-password", "bench-key"


class Goal(NamedTuple):
    """What must not be passed: a ratio of medians, or so many milliseconds more than the baseline."""

    name: str
    baseline: str
    limit: float | None = None
    limit_ms: float | None = None


GOALS = (
    Goal("tmsync --version", "typer --version", 1.1),
    Goal("TAB, answered by tmsync itself", "TAB, bare typer", 1.3),
    Goal("sync-tokens, nothing to do", "typer + query + decrypt", 1.2),
    Goal("sync-tokens, a push", "sync-tokens, a file", 1.6),
    Goal("check-db, all green", "typer + query + decrypt", 1.4),
    Goal("the same without Typer (floor)", "typer + query + decrypt"),
    Goal("settings.json of 100 kB", "settings.json of 1 kB"),
    Goal("settings.json of 1 MB", "settings.json of 1 kB"),
    Goal("settings.json of 10 MB", "settings.json of 1 kB"),
    Goal("pg_hba.conf, 10 rules", "pg_hba.conf, 1 rule"),
    Goal("pg_hba.conf, 100 rules", "pg_hba.conf, 1 rule"),
    Goal("pg_hba.conf, 1,000 rules", "pg_hba.conf, 1 rule", limit_ms=30),
    Goal("pg_hba.conf, 10,000 rules", "pg_hba.conf, 1 rule", limit_ms=300),
)
STALE = '{"carApiBearerToken": "stale", "chargeNowAmps": 32}'
SIZES = {"1 kB": 1000, "100 kB": 100_000, "1 MB": 1_000_000, "10 MB": 10_000_000}
RULES = {"1 rule": 1, "10 rules": 10, "100 rules": 100, "1,000 rules": 1000, "10,000 rules": 10_000}


def main() -> int:
    add_to_path()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="runs of each command (at least 7)")
    rounds = max(7, parser.parse_args().rounds)
    # As pip installs it: byte-compiled, also where the surroundings forbid Python to do that by itself.
    compileall.compile_dir(str(Path(tmsync.__file__).parent), quiet=1)
    with tempfile.TemporaryDirectory(prefix="tmsync-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "pg").mkdir()
        binaries = next(find_binaries())
        with PrivatePostgres(binaries, folder / "pg") as postgres:
            fill(postgres)
            with live_twcmanager(folder / "live") as port:
                lines = commands(folder, postgres.port) | deliveries(folder, port)
                figures = side_by_side(lines, environ(postgres.port), rounds)
            idle = serve.idle(database(postgres.port)) if find_mosquitto() is not None else []
    print(
        f"Python {platform.python_version()}, PostgreSQL {binaries.version}, {os.cpu_count()} cores, {rounds} rounds\n"
    )
    rows = [row(goal, figures) for goal in GOALS]
    show(rows)
    found = serve.readings(min(rounds, 15)) + idle
    if find_mosquitto() is not None:
        found += telemetry.readings(min(rounds, 15))
    else:
        print(
            "\nwatch-mqtt, and serve when idle, are not measured: no Mosquitto at hand (sudo apt-get install mosquitto)"
        )
    telemetry.show(found)
    document = {"rounds": rounds, "rows": rows, "readings": [reading.as_json() for reading in found]}
    results = Path("bench-results")
    results.mkdir(exist_ok=True)
    (results / "figures.json").write_text(json.dumps(document, indent=2) + "\n")
    return 0 if all(line["ok"] for line in rows) and all(reading.ok for reading in found) else 1


def fill(postgres: PrivatePostgres) -> None:
    postgres.sql(f"create role teslamate login password '{PASSWORD}'")
    postgres.sql("create database teslamate owner teslamate")
    access = access_token(datetime.now(UTC) + timedelta(hours=7))
    row = token_row(sealed(access, KEY), sealed(refresh_token(), KEY))
    postgres.sql(f"set role teslamate; {TABLES} {token_table()} {row}", "teslamate")


def database(port: int) -> dict[str, str]:
    """tmsync's settings of it, without TMSYNC_."""
    login = {"DATABASE_HOST": "127.0.0.1", "DATABASE_PORT": str(port), "DATABASE_PASSWORD": PASSWORD}
    return {**login, "TESLAMATE_ENCRYPTION_KEY": KEY}


def environ(port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TMSYNC_", "PG", "BENCH_"))}
    bench = {"BENCH_HOST": "127.0.0.1", "BENCH_PORT": str(port), "BENCH_PASSWORD": PASSWORD, "BENCH_KEY": KEY}
    return {**kept, **bench}


def commands(folder: Path, port: int) -> dict[str, Sequence[str]]:
    twcmanager = folder / "twcmanager"
    twcmanager.mkdir()
    (twcmanager / "settings.json").write_text('{"chargeNowAmps": 32}')
    config = folder / "config.toml"
    config.touch(mode=0o600)
    config.write_text(
        f'database.host = "127.0.0.1"\ndatabase.port = {port}\ndatabase.password = "{PASSWORD}"\n'
        f'teslamate.encryption_key = "{KEY}"\ntwcmanager.settings_file = "{twcmanager / "settings.json"}"\n'
    )
    judge = [str(BIN / "tmsync"), "check-db", "--offline", "--json", "--client-address", "192.168.1.50", "--pg-hba"]
    tmsync = [str(BIN / "tmsync"), "--config", str(config)]
    return {
        "typer --version": [sys.executable, str(HERE / "baseline_version.py"), "--version"],
        "tmsync --version": [str(BIN / "tmsync"), "--version"],
        "TAB, bare typer": ["env", *tab("bare"), sys.executable, str(HERE / "baseline_version.py")],
        "TAB, answered by tmsync itself": ["env", *tab("tmsync"), str(BIN / "tmsync")],
        "typer + query + decrypt": [sys.executable, str(HERE / "baseline_typer.py")],
        "the same without Typer (floor)": [sys.executable, str(HERE / "baseline_bare.py")],
        "sync-tokens, nothing to do": [*tmsync, "sync-tokens", "--via", "file"],
        "check-db, all green": [*tmsync, "check-db"],
        **{
            f"settings.json of {name}": [*tmsync, "sync-tokens", "--via", "file", "--twc-settings", settings]
            for name, settings in sized_settings(folder).items()
        },
        **{f"pg_hba.conf, {name}": [*judge, str(hba_file(folder, count))] for name, count in RULES.items()},
    }


@contextmanager
def live_twcmanager(folder: Path) -> Iterator[int]:
    """A TWCManager whose web control takes what is pushed, and saves it at once."""
    folder.mkdir()
    (folder / "settings.json").write_text(STALE)
    with running(folder / "settings.json") as manager:
        manager.delay_s = 0
        yield manager.port


def deliveries(folder: Path, port: int) -> dict[str, Sequence[str]]:
    """Into a TWCManager that is stopped, and one that runs; each run finds a stale token, put there by a shell."""

    def command(settings: Path, port: int) -> list[str]:
        arguments = f"--config {folder / 'config.toml'} sync-tokens --twc-settings {settings}"
        url = f"--twc-url http://127.0.0.1:{port}"
        return ["sh", "-c", f"printf '%s' '{STALE}' > {settings} && exec {BIN / 'tmsync'} {arguments} {url}"]

    return {
        "sync-tokens, a file": command(folder / "twcmanager" / "stale.json", 9),
        "sync-tokens, a push": command(folder / "live" / "settings.json", port),
    }


def sized_settings(folder: Path) -> dict[str, str]:
    """Settings of many vehicles, one file for each size; they are found up to date after the first run."""
    found = {}
    for name, size in SIZES.items():
        place = folder / f"settings-{size}"
        place.mkdir()
        vehicles = {f"VIN{number:08d}": {"chargeNowAmps": 16, "name": f"Car {number}"} for number in range(size // 60)}
        (place / "settings.json").write_text(json.dumps({"chargeNowAmps": 32, "Vehicles": vehicles}))
        found[name] = str(place / "settings.json")
    return found


def tab(program: str) -> list[str]:
    """The environment in which a shell asks the program for completions, as --install-completion sets it up."""
    return [f"_{program.upper()}_COMPLETE=complete_bash", f"COMP_WORDS={program} --ver", "COMP_CWORD=1"]


def hba_file(folder: Path, count: int) -> Path:
    """`count` rules of which the last one decides."""
    path = folder / f"pg_hba-{count}.conf"
    draw = random.Random(count)
    lines = [
        f"host db{number} user{number} {draw.randrange(1, 223)}.{number % 256}.{number // 256}.0/24 scram-sha-256\n"
        for number in range(count - 1)
    ]
    path.write_text("".join(lines) + "host teslamate teslamate 192.168.1.50/32 scram-sha-256\n")
    return path


def row(goal: Goal, figures: Mapping[str, Figure]) -> dict[str, object]:
    mine, theirs = figures[goal.name], figures[goal.baseline]
    ratio = mine.median / theirs.median
    return {
        "name": goal.name,
        "baseline": goal.baseline,
        "median_ms": round(mine.median, 1),
        "least_ms": round(mine.least, 1),
        "spread_ms": round(mine.spread, 1),
        "baseline_ms": round(theirs.median, 1),
        "ratio": round(ratio, 3),
        "more_ms": round(mine.median - theirs.median, 1),
        "limit": goal.limit,
        "limit_ms": goal.limit_ms,
        "ok": ratio <= (goal.limit or ratio) and mine.median - theirs.median <= (goal.limit_ms or float("inf")),
    }


def show(rows: list[dict[str, object]]) -> None:
    heads = ("what", "median", "least", "spread", "baseline", "ratio", "limit")
    print(f"{heads[0]:<31}" + "".join(f"{head:>10}" for head in heads[1:]))
    for line in rows:
        limit = f"+{line['limit_ms']} ms" if line["limit_ms"] else line["limit"] or "-"
        times = "".join(f"{line[key]:>7} ms" for key in ("median_ms", "least_ms", "spread_ms", "baseline_ms"))
        verdict = "" if line["ok"] else "  too slow"
        print(f"{line['name']:<31}{times}{line['ratio']:>10}{limit:>10}{verdict}")


if __name__ == "__main__":
    sys.exit(main())

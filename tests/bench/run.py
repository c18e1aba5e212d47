"""`make bench`: every figure, as a table and as bench-results/figures.json. `--rounds N` for more or fewer of them."""

import argparse
import compileall
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import tmsync
from tests.bench.measure import Figure, side_by_side
from tmsync.demo.postgres import PrivatePostgres, find_binaries
from tmsync.demo.teslamate import TABLES, access_token, refresh_token, sealed, token_row, token_table

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PASSWORD, KEY = "bench-password", "bench-key"


class Goal(NamedTuple):
    """A ratio of medians that must not be passed."""

    name: str
    baseline: str
    limit: float | None


GOALS = (
    Goal("tmsync --version", "typer --version", 1.15),
    Goal("sync-tokens, nothing to do", "typer + query + decrypt", 1.25),
    Goal("check-db, all green", "typer + query + decrypt", 1.7),
    Goal("the same without Typer (floor)", "typer + query + decrypt", None),
)


def main() -> int:
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
            figures = side_by_side(commands(folder, postgres.port), environ(postgres.port), rounds)
    print(
        f"Python {platform.python_version()}, PostgreSQL {binaries.version}, {os.cpu_count()} cores, {rounds} rounds\n"
    )
    rows = [row(goal, figures) for goal in GOALS]
    show(rows)
    results = Path("bench-results")
    results.mkdir(exist_ok=True)
    (results / "figures.json").write_text(json.dumps({"rounds": rounds, "rows": rows}, indent=2) + "\n")
    return 0 if all(line["ok"] for line in rows) else 1


def fill(postgres: PrivatePostgres) -> None:
    postgres.sql(f"create role teslamate login password '{PASSWORD}'")
    postgres.sql("create database teslamate owner teslamate")
    access = access_token(datetime.now(UTC) + timedelta(hours=7))
    row = token_row(sealed(access, KEY), sealed(refresh_token(), KEY))
    postgres.sql(f"set role teslamate; {TABLES} {token_table()} {row}", "teslamate")


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
    tmsync = [str(BIN / "tmsync"), "--config", str(config)]
    return {
        "typer --version": [sys.executable, str(HERE / "baseline_version.py"), "--version"],
        "tmsync --version": [str(BIN / "tmsync"), "--version"],
        "typer + query + decrypt": [sys.executable, str(HERE / "baseline_typer.py")],
        "the same without Typer (floor)": [sys.executable, str(HERE / "baseline_bare.py")],
        "sync-tokens, nothing to do": [*tmsync, "sync-tokens", "--via", "file"],
        "check-db, all green": [*tmsync, "check-db"],
    }


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
        "limit": goal.limit,
        "ok": goal.limit is None or ratio <= goal.limit,
    }


def show(rows: list[dict[str, object]]) -> None:
    print(f"{'what':<32}{'median':>9}{'least':>9}{'spread':>9}{'baseline':>10}{'ratio':>8}{'limit':>7}")
    for line in rows:
        verdict = "" if line["ok"] else "  too slow"
        print(
            f"{line['name']:<32}{line['median_ms']:>6} ms{line['least_ms']:>6} ms{line['spread_ms']:>6} ms"
            f"{line['baseline_ms']:>7} ms{line['ratio']:>8}{line['limit'] or '-':>7}{verdict}"
        )


if __name__ == "__main__":
    sys.exit(main())

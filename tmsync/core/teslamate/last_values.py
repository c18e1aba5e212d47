"""What TeslaMate's database last recorded of a car's values, by the keys that MQTT has for them.

For a broker that has lost its retained values: TeslaMate sends most of them again only when they change.

Source: TeslaMate priv/repo/migrations (cars, positions, charging_processes, charges, updates and their indexes),
lib/teslamate/vehicles/vehicle/summary.ex (the same names mean the same, in km, km/h, kW, bar and degrees Celsius).
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tmsync.core.postgres.session import QueryFailed, Session
from tmsync.core.teslamate.records import readable_columns
from tmsync.core.teslamate.topics import Value


class _Recorded(NamedTuple):
    """Columns of one table. query: yields the car's id, and then those columns, of its newest row."""

    table: str
    columns: tuple[str, ...]
    needs: Mapping[str, frozenset[str]]
    query: str
    also: Mapping[str, Value] = {}
    """What such a row says besides."""


POSITION: Final = _Recorded(
    "positions",
    ("latitude", "longitude", "elevation", "odometer", "battery_level", "usable_battery_level",
     "ideal_battery_range_km", "est_battery_range_km", "rated_battery_range_km", "inside_temp", "outside_temp",
     "is_climate_on", "tpms_pressure_fl", "tpms_pressure_fr", "tpms_pressure_rl", "tpms_pressure_rr"),
    {"cars": frozenset({"id"}), "positions": frozenset({"car_id", "date", "ideal_battery_range_km"})},
    # By the index that TeslaMate keeps on rows with a range; those without come from the stream, and hold little.
    """
    select c.id, {columns} from public.cars c cross join lateral (
      select {columns} from public.positions p
      where p.car_id = c.id and p.ideal_battery_range_km is not null order by p.date desc limit 1
    ) newest
    """,
)  # fmt: skip
"""Not its speed and power, which are of a moment."""
CHARGE: Final = _Recorded(
    "charges",
    ("charger_power", "charger_voltage", "charger_actual_current", "charger_phases", "charge_energy_added",
     "battery_level", "usable_battery_level", "ideal_battery_range_km", "rated_battery_range_km", "outside_temp"),
    {"charging_processes": frozenset({"id", "car_id", "end_date"}),
     "charges": frozenset({"charging_process_id", "date"})},
    """
    select p.car_id, {columns}
    from (select car_id, max(id) as id from public.charging_processes group by car_id) n
      join public.charging_processes p on p.id = n.id and p.end_date is null
      cross join lateral (
        select {columns} from public.charges h where h.charging_process_id = p.id order by h.date desc limit 1
      ) newest
    """,
    {"state": "charging", "charging_state": "Charging", "plugged_in": True},
)  # fmt: skip
CAR: Final = _Recorded(
    "cars",
    ("name", "model", "trim_badging", "exterior_color", "wheel_type", "spoiler_type"),
    {"cars": frozenset({"id"})},
    "select id, {columns} from public.cars",
)
UPDATE: Final = _Recorded(
    "updates",
    ("version",),
    {"updates": frozenset({"id", "car_id", "end_date", "version"})},
    # "2026.38.8 0a1b2c3d4e5f": MQTT has what stands before the blank.
    """
    select distinct on (car_id) car_id, split_part(version, ' ', 1) from public.updates where end_date is not null
    order by car_id, id desc
    """,
)
NEWER_LAST: Final = (CAR, UPDATE, POSITION, CHARGE)
KEYS: Final = {"name": "display_name"}
"""Column -> key, where they differ."""
FILLED: Final = frozenset(KEYS.get(column, column) for one in NEWER_LAST for column in (*one.columns, *one.also))
"""Every key that the database may know."""


def read_last_values(session: Session) -> dict[int, dict[str, Value]]:
    """Car id -> key -> value, as far as this role may read them.

    Raises: QueryFailed.
    """
    readable = readable_columns(session)
    found: dict[int, dict[str, Value]] = {}
    for recorded in NEWER_LAST:
        if not all(needed <= readable.get(table, set()) for table, needed in recorded.needs.items()):
            continue
        columns = [column for column in recorded.columns if column in readable[recorded.table]]
        if columns:
            query = recorded.query.format(columns=", ".join(columns))
            for car_id, *values in _rows(session, query):
                known = {KEYS.get(column, column): _value(value) for column, value in zip(columns, values, strict=True)}
                known = {key: value for key, value in known.items() if value is not None}
                found.setdefault(car_id, {}).update({**known, **recorded.also})
    return found


def _rows(session: Session, query: str) -> Iterator[Sequence[Any]]:
    try:
        yield from session.query(query)
    except QueryFailed as error:
        # Another version's table: the others still tell something. A broken connection does not get better.
        if not error.sqlstate:
            raise


def _value(value: Any) -> Value:
    return float(value) if isinstance(value, Decimal) else value

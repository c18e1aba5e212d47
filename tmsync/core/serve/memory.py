"""What the facade remembers of each car: the command that is pending, and Tesla's answers that are given again.

A command outlives the process: killed right after it and started again, the facade would else answer from a TeslaMate
that has not seen yet what came of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from tmsync.core.serve.commands import PendingCommand
from tmsync.core.serve.decide import KeptAnswer, Purpose
from tmsync.core.teslamate.records import CarRecord

MOST_CARS: Final = 2000
MOST_KEPT: Final = 16
"""Answers kept of one car; TWCManager asks for one set of endpoints alone."""


class CarMemory:
    """Of one car."""

    __slots__ = ("command", "epoch", "kept", "tesla_at")

    def __init__(self) -> None:
        self.command: PendingCommand | None = None
        self.kept: dict[tuple[frozenset[str] | None, Purpose], KeptAnswer] = {}
        self.tesla_at: float | None = None
        self.epoch = 0
        """Grows with every command that goes up or is answered: what was asked before is out of date then."""

    def begin(self) -> None:
        """A command goes up."""
        before = self.command or PendingCommand()
        self.command = before._replace(under_way=before.under_way + 1)
        self._forget()

    def end(self, now: float, limit: int | None, record_at: datetime | None) -> None:
        """It was answered, or never will be. limit: what TeslaMate must show before it is trusted with this car."""
        before = self.command or PendingCommand(under_way=1)
        self.command = PendingCommand(
            before.under_way - 1, now, before.limit if limit is None else limit, record_at or before.record_at
        )
        self._forget()

    def withdraw(self) -> None:
        """It never went up."""
        if self.command is not None:
            left = self.command.under_way - 1
            never = left == 0 and self.command.answered_at == 0.0
            self.command = None if never else self.command._replace(under_way=left)

    def keep(self, key: tuple[frozenset[str] | None, Purpose], answer: KeptAnswer) -> None:
        """An answer that is given again."""
        if len(self.kept) >= MOST_KEPT and key not in self.kept:
            self.kept.clear()
        self.kept[key] = answer

    def shown_limit(self, percent: int) -> None:
        """Tesla tells this charge limit, which is now the one that TeslaMate must show."""
        if self.command is not None and self.command.limit is not None:
            self.command = self.command._replace(limit=percent)

    def _forget(self) -> None:
        self.kept.clear()
        self.epoch += 1


class KnownCar(NamedTuple):
    """A car of Tesla's list."""

    id: int
    vin: str
    name: str

    def as_json(self, state: str) -> dict[str, Any]:
        """As in Tesla's list."""
        names = {"id": self.id, "id_s": str(self.id), "vin": self.vin, "display_name": self.name}
        return {**names, "state": state}


class Memory:
    """Of all cars, each known by its VIN and by its id."""

    def __init__(self) -> None:
        self._cars: dict[str, CarMemory] = {}
        self.listed: tuple[KnownCar, ...] = ()
        """Tesla's list, as last told."""

    @property
    def is_begun(self) -> bool:
        """Whether it holds anything."""
        return bool(self._cars or self.listed)

    def of(self, vehicle: str, car: CarRecord | None) -> CarMemory:
        """Of the car that a path names. car: its record, where it has one."""
        names = {vehicle} if car is None else {vehicle, *filter(None, (car.vin, str(car.eid) if car.eid else None))}
        known = [self._cars[name] for name in sorted(names) if name in self._cars]
        found = next((memory for memory in known if memory.command is not None), known[0] if known else None)
        if found is None:
            found = CarMemory()
            if len(self._cars) >= MOST_CARS:
                # Somebody makes up VINs; a car that was commanded is not forgotten for that.
                self._cars = {name: memory for name, memory in self._cars.items() if memory.command is not None}
        for name in names:
            self._cars[name] = found
        return found

    def as_json(self) -> dict[str, Any]:
        """What outlives the process."""
        commanded = {name: {"limit": cmd.limit} for name, cmd in self._commanded()}
        return {"commanded": commanded, "listed": [list(car) for car in self.listed]}

    def _commanded(self) -> Iterator[tuple[str, PendingCommand]]:
        return ((name, memory.command) for name, memory in self._cars.items() if memory.command is not None)

    def restore(self, document: Any, now: float) -> None:
        """Take over what an earlier process left; a command counts as answered just now. Never raises."""
        found = document if isinstance(document, dict) else {}
        commanded, listed = found.get("commanded"), found.get("listed")
        for name, command in commanded.items() if isinstance(commanded, dict) else ():
            limit = command.get("limit") if isinstance(command, dict) else None
            memory = self._cars.setdefault(name, CarMemory())
            memory.command = PendingCommand(0, now, limit if isinstance(limit, int) else None)
        rows = [row for row in listed if isinstance(row, list)] if isinstance(listed, list) else []
        self.listed = tuple(car for row in rows if (car := _known(*row)) is not None)


def listed_cars(response: Any) -> tuple[KnownCar, ...]:
    """The cars of Tesla's list. response: that of its document."""
    rows = [row for row in response if isinstance(row, Mapping)] if isinstance(response, Sequence) else []
    found = (_known(row.get("id"), row.get("vin"), row.get("display_name") or row.get("vin")) for row in rows)
    return tuple(car for car in found if car is not None)


def _known(*row: Any) -> KnownCar | None:
    match row:
        case (int(number), str(vin), str(name)):
            return KnownCar(number, vin, name)
    return None


def encoded_memory(memory: Memory) -> bytes:
    """For the file in serve.state_dir."""
    return json.dumps(memory.as_json()).encode() + b"\n"

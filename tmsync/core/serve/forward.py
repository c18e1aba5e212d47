"""From a request of TWCManager's to its answer: `decide` is asked, Tesla where it says so, and both are remembered."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.clock import Instant
from tmsync.core.errors import ConfigError
from tmsync.core.files.state import StateFolder
from tmsync.core.fixes import problem
from tmsync.core.net.tls import UnusableFile
from tmsync.core.serve.commands import newest_record
from tmsync.core.serve.decide import (
    AS_TESLA_SAYS,
    TRUSTED,
    Answer,
    Forward,
    KeptAnswer,
    Origin,
    Situation,
    decide,
    encoded,
    is_pending,
    refusal,
)
from tmsync.core.serve.hosts import host_of, knows_vins
from tmsync.core.serve.keeping import MemoryFile
from tmsync.core.serve.limits import Limits
from tmsync.core.serve.memory import CarMemory, KnownCar, Memory, listed_cars
from tmsync.core.serve.ports import Credential, FacadeOptions, Ports
from tmsync.core.serve.problems import OpenProblems
from tmsync.core.serve.replies import Outcome, Reply, document_of, outcome
from tmsync.core.serve.request import SET_CHARGE_LIMIT, ApiRequest, Kind
from tmsync.core.serve.upstream import Unreachable, Upstream
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.records import CarRecord

LIMIT_SHOWN_S: Final = 60.0
"""So long after a command, Tesla itself tells the charge limit that holds: somebody may have changed it again."""
MOST_FETCHES: Final = 16
"""Of data, at once: each may be a megabyte. Commands wait for nothing."""
MOST_GIVEN: Final = 256
FIRST_READ_S: Final = 15.0
"""So long a request waits for the token to be read first; it may have waited at systemd's socket for the start."""


class _Given(NamedTuple):
    """An answer from TeslaMate, and all that it was made from. at: seconds of running time."""

    answer: Answer
    at: float
    view: VehicleView
    report: LivenessReport
    memory: CarMemory
    epoch: int


class Forwarder:
    """Answers requests, one by one or at once; to be used in one event loop."""

    def __init__(
        self, options: FacadeOptions, ports: Ports, problems: OpenProblems, memory: Memory, limits: Limits
    ) -> None:
        self._options = options
        self._vehicles = ports.vehicles
        self._records = ports.records
        self._tokens = ports.tokens
        self._clock = ports.clock
        self._problems = problems
        self.answered = 0
        """Requests answered from TeslaMate, or by what Tesla told before: no call."""
        self.forwarded = 0
        """Calls to Tesla."""
        self._memory = memory
        self._limits = limits
        self._refused_token: bytes | None = None
        """SHA-256 of the token that Tesla refuses."""
        self._refused_name = ""
        """What this client was refused last: that other requests are not refused shows nothing."""
        self._given: dict[str, _Given] = {}
        self._flights: dict[tuple[str, int], asyncio.Task[Answer]] = {}
        self._upstream: Upstream | None = None
        self._fetching = asyncio.Semaphore(MOST_FETCHES)
        self._started_at = ports.clock.monotonic()
        folder = None if options.state_dir is None else StateFolder(options.state_dir)
        self._file = None if folder is None else MemoryFile(folder, memory, problems)

    async def start(self) -> None:
        """Raises: ConfigError (serve.upstream_ca_file)."""
        try:
            self._upstream = Upstream(self._options.upstream_ca_file)
        except UnusableFile as error:
            message = f"serve.upstream_ca_file {error.file} cannot be used: {error}"
            raise ConfigError(problem(Cause.UNREADABLE_FILE, message, variant="pem")) from None
        if self._file is not None and not self._memory.is_begun:
            await asyncio.to_thread(self._file.restore, self._clock.monotonic())

    async def stop(self) -> None:
        """Hang up."""
        if self._file is not None:
            self._file.close()
        if self._upstream is not None:
            await self._upstream.close()

    def upstream(self) -> str | None:
        """The address that requests go up to; None while no token tells which."""
        credential = self._tokens.current()
        return self._options.upstream or (host_of(credential.claims) if credential is not None else None)

    async def answer(self, request: ApiRequest) -> Answer:
        """What TWCManager gets."""
        report = self._records.records()
        car = _car_of(request.vehicle, report.cars)
        if request.vehicle is not None and car is None and request.vin is None and not self._is_listed(request.vehicle):
            if report.database_at is None:
                return refusal(503, "TeslaMate's database has not told yet which cars there are")
            return refusal(404, "no car of TeslaMate's has this id")
        memory = CarMemory() if request.vehicle is None else self._memory.of(request.vehicle, car)
        now = Instant.of(self._clock)
        view = None if car is None else self._vehicles.view(car.car_id, now)
        case = Situation(
            now, report, car, view, memory.command, memory.kept, memory.tesla_at, self._limits.at(now.running)
        )
        if memory.command is not None and not is_pending(case):
            memory.command = None
            case = case._replace(command=None)
            await self._save()
        decision = decide(request, case)
        if isinstance(decision, Answer):
            self.answered += decision.origin is not Origin.TMSYNC
            if decision.origin is Origin.TESLAMATE and view is not None and not case.holds:
                if len(self._given) >= MOST_GIVEN:
                    self._given.clear()
                self._given[request.target] = _Given(decision, now.running, view, report, memory, memory.epoch)
            return decision
        if request.method == "POST":
            return await self._command(request, car, memory, decision)
        return await self._fetch(request, car, memory, decision)

    def again(self, request: ApiRequest) -> Answer | None:
        """The answer given last from TeslaMate, where nothing has come since; else None, and `answer` is to be asked.

        It costs a tenth of what working it out costs, and TWCManager asks the same again and again.
        """
        given = self._given.get(request.target)
        if given is None or given.memory.command is not None or given.memory.epoch != given.epoch:
            return None
        now = Instant.of(self._clock)
        if self._records.records() is not given.report:
            return None
        if self._vehicles.view(given.view.car_id, now) is not given.view:
            return None
        self.answered += 1
        return given.answer._replace(age_s=given.answer.age_s + now.running - given.at)

    # -- up to Tesla

    async def _fetch(self, request: ApiRequest, car: CarRecord | None, memory: CarMemory, decision: Forward) -> Answer:
        """Equal requests under way share one answer, unless the car was commanded in between."""
        key = request.target, memory.epoch
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fetch_once(request, car, memory, decision))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    async def _fetch_once(
        self, request: ApiRequest, car: CarRecord | None, memory: CarMemory, decision: Forward
    ) -> Answer:
        epoch, asked_at = memory.epoch, self._clock.monotonic()
        try:
            async with self._fetching:
                answer = await self._send(request, car, decision.reason)
        except Unreachable as error:
            return self._stand_in(error, decision.reason) if request.kind is Kind.LIST else self._no_answer(error)
        if answer.origin is not Origin.TESLA:
            return answer
        if request.kind is Kind.LIST:
            await self._keep_list(answer)
        elif request.kind is Kind.DATA and memory.epoch == epoch:
            self._keep_data(request, memory, decision, answer, asked_at)
        return answer

    def _keep_data(
        self, request: ApiRequest, memory: CarMemory, decision: Forward, answer: Answer, asked_at: float
    ) -> None:
        if answer.status == 200:
            memory.tesla_at = asked_at
        if decision.purpose is not None and answer.status < 500:
            memory.keep((request.endpoints, decision.purpose), KeptAnswer(asked_at, answer))
        command = memory.command
        if command is not None and command.limit is not None and asked_at - command.answered_at >= LIMIT_SHOWN_S:
            found = document_of(answer)
            charge = found.get("charge_state") if isinstance(found, dict) else None
            percent = charge.get("charge_limit_soc") if isinstance(charge, dict) else None
            if isinstance(percent, int):
                memory.shown_limit(percent)

    async def _command(
        self, request: ApiRequest, car: CarRecord | None, memory: CarMemory, decision: Forward
    ) -> Answer:
        """It goes up once, and is remembered before: whatever becomes of us, the car may have got it."""
        memory.begin()
        sent = False
        answer = refusal(503, "it was not answered")
        try:
            await self._save()
            sent = True
            answer = await self._send(request, car, decision.reason)
            sent = answer.origin is Origin.TESLA
        except Unreachable as error:
            sent = error.sent
            answer = self._no_answer(error)
        finally:
            if sent:
                limit = _wanted_limit(request) if _is_accepted(answer) else None
                memory.end(self._clock.monotonic(), limit, newest_record(car))
            else:
                memory.withdraw()
        await self._save()
        return answer

    async def _send(self, request: ApiRequest, car: CarRecord | None, reason: str) -> Answer:
        """Raises: Unreachable."""
        credential = self._tokens.current()
        if credential is None and self._clock.monotonic() - self._started_at < FIRST_READ_S:
            credential = await self._tokens.reread()
        if credential is None:
            return refusal(503, "no token of TeslaMate's is known")
        if self._is_refused(credential) and not request.is_stop:
            return refusal(503, "Tesla refuses TeslaMate's token, until TeslaMate has another one")
        reply = await self._ask(request, car, credential)
        if isinstance(reply, Reply) and reply.status == 401:
            again = await self._tokens.reread() or credential
            reply = await self._ask(request, car, again)
            if isinstance(reply, Reply) and reply.status == 401:
                return self._refuse_token(again)
        if isinstance(reply, Answer):
            return reply
        found = outcome(request, reply, self._clock.now(), reason)
        self._take(request, reply, found)
        return found.answer

    async def _ask(self, request: ApiRequest, car: CarRecord | None, credential: Credential) -> Reply | Answer:
        """Raises: Unreachable."""
        base = self._options.upstream or host_of(credential.claims)
        if base is None:
            message = "TeslaMate's token does not tell which of Tesla's hosts it is for"
            self._problems.raised(problem(Cause.UPSTREAM_UNKNOWN, message), critical=True)
            return refusal(503, message)
        self._problems.cleared(Cause.UPSTREAM_UNKNOWN)
        target = request.target
        if request.vin is not None and not knows_vins(credential.claims):
            eid = car.eid if car is not None else self._listed_id(request.vin)
            if eid is None:
                return refusal(503, "TeslaMate's database has not told the id by which the Owner API knows this car")
            target = request.by_id(eid)
        if self._upstream is None:
            raise RuntimeError("not started")
        self.forwarded += 1
        try:
            reply = await self._upstream.send(request, base + target, credential.secret)
        except Unreachable as error:
            message = f"{base} does not answer: {error}"
            self._problems.raised(problem(Cause.UPSTREAM_UNREACHABLE, message, url=base), critical=True)
            raise
        self._problems.cleared(Cause.UPSTREAM_UNREACHABLE)
        return reply

    def _take(self, request: ApiRequest, reply: Reply, found: Outcome) -> None:
        """Draw the consequences of an answer that was no 401."""
        now = self._clock.monotonic()
        self._refused_token = None
        self._problems.cleared(Cause.TOKEN_REFUSED)
        if found.hold_s is not None:
            self._limits.refused(request.rate_class, now, found.hold_s)
        else:
            self._limits.accepted(request.rate_class, now)
        if found.problem is not None:
            self._problems.raised(found.problem, critical=found.critical, for_s=found.hold_s)
            if found.problem.cause is Cause.CLIENT_REFUSED:
                self._refused_name = request.name
        elif 200 <= reply.status < 300:
            self._problems.cleared(Cause.WRONG_REGION)
            if self._refused_name in ("", request.name):
                self._problems.cleared(Cause.CLIENT_REFUSED)
            if request.method == "POST":
                self._problems.cleared(Cause.SIGNED_COMMANDS)
            if not self._limits.at(now):
                self._problems.cleared(Cause.RATE_LIMITED)

    # -- tokens

    def _is_refused(self, credential: Credential) -> bool:
        return self._refused_token is not None and _sum(credential) == self._refused_token

    def _refuse_token(self, credential: Credential) -> Answer:
        self._refused_token = _sum(credential)
        message = "Tesla refuses TeslaMate's token"
        self._problems.raised(problem(Cause.TOKEN_REFUSED, message), critical=True)
        return refusal(503, f"{message}, until TeslaMate has another one")

    # -- without Tesla

    def _no_answer(self, error: Unreachable) -> Answer:
        return refusal(503, f"Tesla's API does not answer: {error}")

    def _stand_in(self, error: Unreachable, reason: str) -> Answer:
        """The list as Tesla told it last, and TeslaMate's cars: TWCManager asks for it once in its life."""
        report, now = self._records.records(), Instant.of(self._clock)
        by_vin = {car.vin: car for car in self._memory.listed}
        for record in report.cars.values():
            if record.vin is not None and record.eid is not None and record.enabled is not False:
                by_vin.setdefault(record.vin, KnownCar(record.eid, record.vin, record.name or record.vin))
        if not by_vin:
            return self._no_answer(error)
        cars = {record.vin: record for record in report.cars.values()}
        rows = [car.as_json(self._state_of(cars.get(car.vin), now)) for car in by_vin.values()]
        body = encoded({"response": rows, "count": len(rows)})
        return Answer(200, body, Origin.TMSYNC, f"{reason}, and Tesla's API does not answer: {error}")

    def _state_of(self, car: CarRecord | None, now: Instant) -> str:
        view = None if car is None else self._vehicles.view(car.car_id, now)
        trusted = view is not None and view.judgement.verdict in TRUSTED
        return AS_TESLA_SAYS.get(view.state, "unknown") if view is not None and trusted else "unknown"

    async def _keep_list(self, answer: Answer) -> None:
        found = listed_cars(document_of(answer))
        if found:
            self._memory.listed = found
            await self._save()

    def _is_listed(self, text: str) -> bool:
        return any(str(car.id) == text for car in self._memory.listed)

    def _listed_id(self, vin: str) -> int | None:
        return next((car.id for car in self._memory.listed if car.vin == vin), None)

    async def _save(self) -> None:
        if self._file is not None:
            await self._file.save()


def _car_of(vehicle: str | None, cars: Mapping[int, CarRecord]) -> CarRecord | None:
    """The car that a path names by its VIN or its id."""
    if vehicle is None:
        return None
    return next((car for car in cars.values() if vehicle in (car.vin, str(car.eid))), None)


def _sum(credential: Credential) -> bytes:
    return hashlib.sha256(credential.secret.reveal().encode("utf-8", "surrogatepass")).digest()


def _wanted_limit(request: ApiRequest) -> int | None:
    """The charge limit in percent that a command sets."""
    if request.name != SET_CHARGE_LIMIT:
        return None
    try:
        return int(json.loads(request.body)["percent"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _is_accepted(answer: Answer) -> bool:
    """Whether the car may have done what it was told, for all that the answer says."""
    if answer.origin is not Origin.TESLA:
        return True
    found = document_of(answer)
    return isinstance(found, dict) and (found.get("result") is not False or found.get("reason") == "already_set")

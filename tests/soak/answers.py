"""What `tmsync serve` may answer, and what may go up to Tesla, by what is true of the simulated cars.

It knows nothing of tmsync's own decisions: only the contract's rules, what TeslaMate published and recorded and when,
which commands reached Tesla's stand-in, and what was interrupted. Where delays leave two things possible, both may be.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

from tests.soak.callers import Exchange
from tests.soak.cars import SoakCar
from tests.soak.oracle import SLACK_S, CarDiary, Diary, Span
from tests.support.cars import READS, Call, Tesla

TRUSTED = {"fresh", "late"}
AWAKE = {"online": "online", "charging": "online", "driving": "online"}
STATES = {**AWAKE, "asleep": "asleep", "offline": "offline"}
SCHEDULED = {"Stopped", "NoPower"}
CHARGING = {"Charging", "Starting"}
UNAVAILABLE = {
    "response": None,
    "error": 'vehicle unavailable: {:error=>"vehicle unavailable:"}',
    "error_description": "",
}
SHOWN_AFTER_S = 5.0
ASLEEP_AFTER_S = 120.0
SCHEDULE_S = 300.0
PENDING_S = 60.0
READ_EVERY_S = 30.0
"""serve reads the records so often."""
READ_S = 5.0
"""And that may take so long where the machine is busy."""
BEGINS_S = 10.0
"""So long after its start serve may not know TeslaMate's token or cars yet."""
FLIGHT_S = 5.0
REMEMBERED = 200
NUMBERS = {
    "latitude": "drive_state", "longitude": "drive_state", "battery_level": "charge_state",
    "charge_limit_soc": "charge_state",
}  # fmt: skip
WHILE_CHARGING = ("charger_actual_current", "charger_phases", "charger_power", "charger_voltage")
NEEDED = (*NUMBERS, "charging_state", "time_to_full_charge")
KEYS = (*NUMBERS, *WHILE_CHARGING, "charging_state", "shift_state", "time_to_full_charge")
"""The values of TeslaMate's that an answer is made of."""


class Judge:
    """Holds exchanges and calls against the diary. amiss: told of everything that must not be."""

    def __init__(self, diary: Diary, api: Tesla, amiss: Callable[[str, int, float], None]) -> None:
        self.diary, self.api, self.amiss = diary, api, amiss
        self.serve_downs: list[Span] = []
        self.tesla_downs: list[Span] = []
        self.ready_at: list[float] = []
        self.answers: Counter[str] = Counter()
        """By whose they are."""
        self.calls: Counter[str] = Counter()
        """Those that reached Tesla, by why."""
        self.commands: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._taken: deque[Exchange] = deque()
        self._pending: list[Exchange] = []
        self._by_car: defaultdict[int, deque[Exchange]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._commands: defaultdict[int, list[Exchange]] = defaultdict(list)
        self._arrived: defaultdict[int, list[float]] = defaultdict(list)
        """Number of a command -> when it reached Tesla."""
        self._gets: deque[Call] = deque()
        self._seen = 0
        self._up: dict[tuple[int, str], tuple[float, float]] = {}
        """Car and why -> from when to when its data last went up for that alone."""
        self._cars = {car.vin: car for car in api.cars if isinstance(car, SoakCar)}

    def take(self, exchange: Exchange) -> None:
        """From any thread."""
        if exchange.car is not None:
            if exchange.is_command:
                self._commands[exchange.car.car_id].append(exchange)
            self._by_car[exchange.car.car_id].append(exchange)
        self._taken.append(exchange)

    def check(self, until: float) -> None:
        """Whatever was over by `until`."""
        self._read_calls()
        while self._taken:
            self._pending.append(self._taken.popleft())
        self._pending.sort(key=lambda one: one.end)
        while self._pending and self._pending[0].end <= until:
            exchange = self._pending.pop(0)
            wrong = self._wrong(exchange)
            if wrong:
                told = f"{exchange.kind} of {exchange.begin:.2f}-{exchange.end:.2f}: {wrong}"
                self.amiss(told, exchange.car.car_id if exchange.car else 0, exchange.end)
            exchange.document = None
        while self._gets and self._gets[0].at <= until:
            self._check_call(self._gets.popleft())

    def check_at_the_end(self) -> None:
        """No command went up twice."""
        self._read_calls()
        for number, moments in self._arrived.items():
            if len(moments) > 1:
                self.amiss(f"command {number} reached Tesla {len(moments)} times", 0, moments[-1])

    def _read_calls(self) -> None:
        with self.api.lock:
            new = self.api.calls[self._seen :]
            self._seen += len(new)
        for call in new:
            if call.kind == "refused":
                self.calls["refused for the token"] += 1
            elif call.kind in READS:
                self._gets.append(call)
            else:
                self._arrived[call.body["number"]].append(call.at)
                self.commands[call.kind] += 1

    # -- answers

    def _wrong(self, exchange: Exchange) -> str:
        self.answers[f"by {exchange.source or 'nobody'}"] += 1
        self.slowest_s = max(self.slowest_s, exchange.end - exchange.begin)
        if exchange.is_command:
            wrong = self._wrong_count(exchange)
            if wrong:
                return wrong
        match exchange.source:
            case "teslamate":
                return self._wrong_teslamate(exchange)
            case "tesla":
                return self._wrong_tesla(exchange)
            case "tmsync":
                excused = self._excused(exchange)
                good = exchange.status == 503 or (exchange.status == 200 and exchange.kind == "list")
                return "" if good and excused else f"tmsync answered {exchange.status}: {exchange.document}"
        if any(_meet(span, exchange.connected_at - 1, exchange.end) for span in self.serve_downs):
            return ""
        return f"no answer: {exchange.error}"

    def _wrong_count(self, exchange: Exchange) -> str:
        assert exchange.number is not None
        arrived = len(self._arrived[exchange.number])
        if arrived > 1 or (exchange.source == "tesla" and arrived != 1):
            return f"it was answered by {exchange.source or 'nobody'}, and reached Tesla {arrived} times"
        return "" if exchange.source != "teslamate" else "a command was answered from TeslaMate"

    def _excused(self, exchange: Exchange) -> bool:
        """Whether Tesla may have been out of reach, or serve have known too little."""
        begun = any(moment - 1 <= exchange.end and exchange.begin <= moment + BEGINS_S for moment in self.ready_at)
        downs = [*self.tesla_downs, *self.diary.database_downs]
        return begun or any(_meet(span, exchange.begin - SLACK_S, exchange.end) for span in downs)

    def _wrong_tesla(self, exchange: Exchange) -> str:
        """It was Tesla's newest, or one that may be given again."""
        response = exchange.document.get("response")
        if exchange.kind == "list":
            return "" if exchange.document.get("count") == len(self._cars) else "cars are missing in the list"
        if exchange.status == 408 or (exchange.is_command and exchange.kind != "wake_up"):
            return ""
        car = exchange.car
        assert car is not None
        told_at = car.told_at.get(response["told"])
        if told_at is None:
            return f"Tesla never told this of the car: {response}"
        for command in self._before(exchange):
            if any(moment > told_at for moment in self._arrived[command.number or 0]):
                return f"Tesla's answer of {told_at:.2f} is older than the {command.kind} answered before"
        if told_at >= exchange.begin:
            return ""
        age = exchange.age
        if (
            exchange.kind != "vehicle_data"
            or not exchange.begin - told_at - 1 <= age <= exchange.end - told_at + FLIGHT_S
        ):
            return f"Tesla's answer of {told_at:.2f} is given again as {age} s old"
        self.answers["of these given again"] += 1
        scheduled = SCHEDULED & set(self._values(car.car_id, "charging_state", exchange.begin, exchange.end))
        if (scheduled and age <= SCHEDULE_S) or (age <= PENDING_S and self._may_pend(car.car_id, exchange.begin)):
            return ""
        return f"Tesla's answer of {told_at:.2f} was given again without need"

    def _before(self, exchange: Exchange) -> list[Exchange]:
        """The commands to its car that were answered, or given up, before it began."""
        assert exchange.car is not None
        return [one for one in self._commands[exchange.car.car_id] if one.end <= exchange.begin]

    def _wrong_teslamate(self, exchange: Exchange) -> str:
        car = exchange.car
        if car is None:
            return "the list was answered from TeslaMate"
        begin, end = exchange.begin, exchange.end
        diary = self.diary.cars[car.car_id]
        verdicts = self.diary.allowed(car.car_id, begin) | self.diary.allowed(car.car_id, end)
        if not verdicts & TRUSTED:
            return f"answered from TeslaMate, which is {' or '.join(sorted(verdicts))}"
        sure, newest = self.diary.newest_beat(car.car_id, begin, end)
        if end - exchange.age < sure:
            return f"older than the last summary by {sure - end + exchange.age:.1f} s and more"
        if begin - exchange.age - 1 > newest:
            return f"said to be {exchange.age} s old, and nothing came for {begin - newest:.1f} s"
        since = 0.0
        for command in self._before(exchange):
            for moment in self._arrived[command.number or 0]:
                wrong = self._wrong_after(command, moment, exchange, diary)
                if wrong:
                    return wrong
            obeyed = car.obeyed_at.get(command.number or 0)
            if obeyed is not None:
                since = max(since, diary.first_look_after(obeyed))
        return self._wrong_content(exchange, car, since)

    def _wrong_after(self, command: Exchange, arrived: float, exchange: Exchange, diary: CarDiary) -> str:
        """TeslaMate has shown, or could have shown, what came of the command."""
        newest = exchange.end - exchange.age
        record = diary.first_record_after(arrived)
        shown = record is not None and record.begin <= exchange.end
        if newest >= arrived + ASLEEP_AFTER_S or (newest >= arrived + SHOWN_AFTER_S and shown):
            return ""
        return f"TeslaMate's answer {newest - arrived:.1f} s after the {command.kind}, before it could know"

    def _values(self, car_id: int, key: str, begin: float, end: float, since: float = 0.0) -> list[Any]:
        entries = self.diary.cars[car_id].values.get(key, [])
        return list(self.diary.possible(entries, begin, end, since))

    def _wrong_content(self, exchange: Exchange, car: SoakCar, since: float) -> str:
        begin, end = exchange.begin, exchange.end
        states = {
            STATES.get(state) for state in self.diary.possible(self.diary.cars[car.car_id].states, begin, end, since)
        }
        if exchange.status == 408 and exchange.kind == "vehicle_data":
            good = exchange.document == UNAVAILABLE and states & {"asleep", "offline"}
            return "" if good else f"408 although it is {states}"
        response = exchange.document["response"]
        wanted = {"id": car.number, "id_s": str(car.number), "vin": car.vin, "display_name": car.name}
        found = {key: response.get(key) for key in wanted}
        if exchange.status != 200 or found != wanted or response.get("state") not in states:
            return f"{exchange.status} {response}, wanted {wanted} and one of {states}"
        if exchange.kind == "state":
            return "" if response.keys() == wanted.keys() | {"state"} else f"more than asked for: {response}"
        return "; ".join(self._wrong_fields(exchange, car, since))

    def _wrong_fields(self, exchange: Exchange, car: SoakCar, since: float) -> Iterator[str]:
        def may_lack(key: str) -> bool:
            entries = self.diary.cars[car.car_id].values.get(key, [])
            return may_lose or self.diary.is_doubtful(entries, exchange.begin, exchange.end)

        def values(key: str) -> list[Any]:
            return self._values(car.car_id, key, exchange.begin, exchange.end, since)

        response = exchange.document["response"]
        charge, drive = dict(response["charge_state"]), dict(response["drive_state"])
        sections = {"charge_state": charge, "drive_state": drive}
        may_lose = self.diary.is_cut(exchange.begin - SLACK_S, exchange.end)
        for key, section in NUMBERS.items():
            told, possible = sections[section].pop(key, None), [float(one) for one in values(key)]
            if told not in possible:
                yield f"{key} is {told}, not {possible}"
        state, states = charge.pop("charging_state", None), values("charging_state")
        if state not in states or state in SCHEDULED:
            yield f"charging_state is {state}, not {states}"
        left, lefts = charge.pop("time_to_full_charge", None), values("time_to_full_charge")
        if left not in [float(one) if one is not None else 0.0 for one in lefts]:
            yield f"time_to_full_charge is {left}, not {lefts}"
        for key in WHILE_CHARGING:
            told, possible = charge.pop(key, None), values(key)
            if (told is None and state in CHARGING and None not in possible and not may_lack(key)) or (
                told is not None and state not in CHARGING
            ):
                yield f"{key} is {told} while {state}"
            elif told is not None and told not in [float(one) for one in possible if one is not None]:
                yield f"{key} is {told}, not {possible}"
        shifts = values("shift_state")
        if "shift_state" in drive or not (None in shifts or may_lack("shift_state")):
            shift = drive.pop("shift_state", "left out")
            if shift not in shifts:
                yield f"shift_state is {shift}, not {shifts}"
        at = drive.pop("gps_as_of", None)
        if at not in set(self._dates(car.car_id, exchange)):
            yield f"gps_as_of is {at}, not {list(self._dates(car.car_id, exchange))}"
        if "vehicle_state" in response and response["vehicle_state"] != {"vehicle_name": car.name}:
            yield f"vehicle_state is {response['vehicle_state']}"
        if charge or drive:
            yield f"unknown fields: {charge} {drive}"

    def _dates(self, car_id: int, exchange: Exchange) -> Iterator[int]:
        """The dates that serve may have read last."""
        lookback = READ_EVERY_S + READ_S
        for span in self.diary.database_downs:
            if _meet(span, exchange.begin - lookback, exchange.end):
                lookback += READ_EVERY_S + READ_S + ((span.end or exchange.end) - span.begin)
        for record in reversed(self.diary.cars[car_id].records):
            if record.begin <= exchange.end:
                yield int(record.date.timestamp())
                if record.end <= exchange.begin - lookback:
                    return

    # -- calls

    def _check_call(self, call: Call) -> None:
        if call.kind == "list":
            self.calls["list"] += 1
            return
        car = self._cars.get(call.vin)
        if car is None:
            self.amiss(f"Tesla was asked for {call.kind} of {call.vin}", 0, call.at)
            return
        near = [one.begin for one in list(self._by_car[car.car_id]) if one.begin <= call.at <= one.end]
        why = self._why(car.car_id, call, min(near, default=call.at - FLIGHT_S))
        self.calls[why or "without need"] += 1
        if not why:
            self.amiss(f"Tesla was asked for {call.kind} without need", car.car_id, call.at)

    def _why(self, car_id: int, call: Call, begin: float) -> str:
        """Why this GET may go up; empty where nothing allows it. begin: when serve may have decided so."""
        at = call.at
        pends = self._may_pend(car_id, begin)
        if pends and (call.kind == "state" or self._may_again(car_id, "command", begin, at, PENDING_S)):
            return "after a command"
        if (self.diary.allowed(car_id, begin) | self.diary.allowed(car_id, at)) - TRUSTED:
            return "not trusted"
        states = set(self.diary.possible(self.diary.cars[car_id].states, begin - SLACK_S, at))
        if states - STATES.keys():
            return "not trusted"
        if self.diary.is_cut(begin, at) or any(one - 1 <= at and begin <= one + READ_S for one in self.ready_at):
            return "not known after an interruption"
        # What a broker has restored, unlike what it was before, is not believed until it comes live.
        diary = self.diary.cars[car_id]
        needed = [diary.states, *((diary.values.get(key, []) for key in NEEDED) if call.kind == "vehicle_data" else ())]
        if any(self.diary.is_doubtful(entries, begin, at) for entries in needed):
            return "not certain after an interruption"
        if call.kind != "vehicle_data":
            return ""
        charging = set(self._values(car_id, "charging_state", begin, at))
        if charging & SCHEDULED and self._may_again(car_id, "schedule", begin, at, SCHEDULE_S):
            return "for a schedule in the car"
        if charging & CHARGING and None in self._values(car_id, "time_to_full_charge", begin, at):
            return "not known yet"
        return ""

    def _may_again(self, car_id: int, why: str, begin: float, at: float, every_s: float) -> bool:
        """Whether what was told for this before may be given again no more; a start or a command forgets it."""
        before, self._up[car_id, why] = self._up.get((car_id, why), (0.0, 0.0)), (begin, at)
        forgotten = any(before[0] - 1 <= moment <= at for moment in self.ready_at)
        commanded = any(one.end >= before[0] and one.begin <= at for one in self._commands[car_id][-20:])
        lost = any(_meet(span, before[0], before[1] + FLIGHT_S) for span in self.tesla_downs)
        return at - before[0] >= every_s or forgotten or commanded or lost

    def _may_pend(self, car_id: int, at: float) -> bool:
        """Whether a command may have been given of which TeslaMate has not surely shown what came."""
        command = next((one for one in reversed(self._commands[car_id]) if one.begin <= at), None)
        if command is None or at <= command.end:
            return command is not None
        trusted = (one for one in list(self._by_car[car_id]) if one.source == "teslamate")
        if any(command.end < one.begin and one.end <= at for one in trusted):
            return False
        if self.diary.allowed(car_id, at) - TRUSTED:
            # What it shows counts once a request finds it trusted.
            return True
        answered = max([command.end, *(moment for moment in self.ready_at if moment <= at)])
        diary = self.diary.cars[car_id]
        if any(self.diary.is_doubtful(one, at, at) for one in (diary.states, diary.values["charge_limit_soc"])):
            return True
        states = set(self.diary.possible(diary.states, at - SLACK_S, at))
        sure, _ = self.diary.newest_beat(car_id, at - SLACK_S, at)
        if states <= {"asleep", "offline"}:
            return sure < answered + ASLEEP_AFTER_S + SLACK_S
        if not states <= AWAKE.keys() or sure < answered + SHOWN_AFTER_S + SLACK_S:
            return True
        # It takes a look at the database, and one more where a request came right after it.
        record = diary.first_record_after(answered + SLACK_S)
        downs = [span.end or at for span in self.diary.database_downs if span.begin <= at]
        return record is None or at < max([record.end, *downs]) + 2 * (READ_EVERY_S + READ_S)


def _meet(span: Span, begin: float, end: float) -> bool:
    return span.begin <= end and (span.end is None or span.end >= begin)

"""What init asks, in which order, and what is tried after each answer."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tmsync.commands import asking
from tmsync.commands.at_hand import read_taken, which
from tmsync.core.check_db.report import Stage
from tmsync.core.clock import Clock
from tmsync.core.config.load import load_settings
from tmsync.core.config.schema import BY_NAME, SYSTEM_TWC_CONFIG, BadValue, Setting, from_text
from tmsync.core.config.settings import Layer, Settings
from tmsync.core.config.survey import masked
from tmsync.core.config.twc_json import read_twc_config
from tmsync.core.errors import ConfigError, Place, Problem
from tmsync.core.files.paths import is_folder, is_there
from tmsync.core.setup.answers import as_answer, host_and_port
from tmsync.core.setup.compose import find_compose
from tmsync.core.setup.takeover import Taken, differences
from tmsync.core.setup.trial import TrialResult, try_broker, try_database, try_web_control
from tmsync.render.check_db import explain, steps
from tmsync.render.config import by_source, taken_over
from tmsync.render.console import console
from tmsync.render.text import printable

NONE: Final = "-"
"""As an answer: there is none."""
QUESTIONS: Final = {
    "database.host": "Its host (name or address, - for none)",
    "database.port": "Its port",
    "database.user": "Database user (DATABASE_USER)",
    "database.name": "Database name (DATABASE_NAME)",
    "database.password": "Password of the database user (DATABASE_PASS)",
    "teslamate.encryption_key": "ENCRYPTION_KEY of TeslaMate",
    "mqtt.host": "Its host (name or address, - for none)",
    "mqtt.port": "Its port",
    "mqtt.username": "User (MQTT_USERNAME; - for none)",
    "mqtt.password": "Password (MQTT_PASSWORD)",
    "mqtt.namespace": "MQTT_NAMESPACE of TeslaMate (- for none)",
    "twcmanager.config_file": "Its name (- for none)",
    "twcmanager.url": "Its web control, if elsewhere (such as 192.168.1.50)",
}
OPTIONAL: Final = frozenset({"database.host", "mqtt.host", "mqtt.username", "mqtt.namespace"})
AFTER_FAILURE: Final = (("", "tries again"), ("c", "changes an answer"), ("k", "keeps it and goes on"))


@dataclass(frozen=True, slots=True)
class Sources:
    """Where values come from besides answers.

    flags: setting -> value. present: what the configuration that is there says, which others override. service: which
    service of a docker-compose.yml is TeslaMate, empty where nobody said.
    """

    environ: Mapping[str, str]
    flags: Mapping[str, object]
    taken: Taken
    present: tuple[tuple[Setting, str, str], ...] = ()
    service: str = ""


class Interview:
    """Everything that is known, and what is asked for the rest. `settings` grows with every answer."""

    settings: Settings

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self.sources = sources
        self.clock = clock
        self.answers: dict[str, object] = {}
        self.kept: list[str] = []
        """What was kept although its trial failed."""
        self._namespaces: list[str] = []
        """Where the broker has cars instead."""
        self.screen = console(sys.stderr)
        self.merge()

    def merge(self) -> None:
        """Raises: ConfigError."""
        sources = self.sources
        flags = {**sources.flags, **self.answers}
        found = (*sources.present, *sources.taken.found)
        self.settings = load_settings(environ=sources.environ, flags=flags, found=found)

    # -- what is at hand

    def compose(self) -> None:
        """Ask for TeslaMate's docker-compose.yml, where none was named."""
        found = find_compose(Path.cwd())
        asking.say("TeslaMate's docker-compose.yml, with its .env beside it, answers most of what follows.")
        while True:
            default = found.name if found else ""
            text = asking.ask("A copy of it here (- for none)", default, shown=default or "none")
            if text in ("", NONE):
                return
            try:
                taken = read_taken(Path(text).expanduser(), self.sources.environ, self.sources.service, which)
                self.sources = replace(self.sources, taken=taken)
                self.merge()
            except ConfigError as error:
                self._tell(error.problem)
            else:
                return

    def twcmanagers_file(self) -> None:
        """Ask for TWCManager's config.json, where none is at its usual place and none was named."""
        if self.settings.twc_config is not None or not self._is_open("twcmanager.config_file"):
            return
        asking.say("\nTWCManager's config.json, if TWCManager runs on this machine, tells where it keeps its settings.")
        default = ""
        if is_there(Path(SYSTEM_TWC_CONFIG)):
            # It could not be read, and that was told as a warning only.
            default = SYSTEM_TWC_CONFIG
            for warning in self.settings.warnings:
                self._tell(warning)
        while True:
            text = asking.ask(QUESTIONS["twcmanager.config_file"], default, shown=default or "none")
            if text in ("", NONE):
                return
            path = Path(text).expanduser().absolute()
            path = path / "config.json" if is_folder(path) else path
            try:
                # By itself first: nobody named it with a flag.
                read_twc_config(path)
                self.answers["twcmanager.config_file"] = str(path)
                self.merge()
            except ConfigError as error:
                self.answers.pop("twcmanager.config_file", None)
                self.merge()
                self._tell(error.problem)
            else:
                return

    def tell_taken(self) -> list[str]:
        """Show what was taken over, each value once, with its source; the settings, in the order of their numbers."""
        named = [
            name
            for name, value in self.settings.values.items()
            if value.layer not in (Layer.DEFAULT, Layer.FLAG) and name not in self.answers
        ]
        groups = by_source(named, self.settings)
        for source, names in groups.items():
            asking.say(f"\nFrom {printable(source)}:")
            asking.show(taken_over(names, self.settings, self.screen))
        twc = {name: str(value.value) for name, value in self.twcmanagers().items()}
        notes = [*self.sources.taken.notes, *differences(self.sources.taken, twc)]
        if notes:
            asking.say()
            asking.show(steps(notes, self.screen))
        for warning in self.settings.warnings:
            self._tell(warning)
        return [name for names in groups.values() for name in names.values()]

    def review(self) -> None:
        """Show what was taken over, and let it be changed."""
        named = self.tell_taken()
        asking.say()
        while named:
            text = asking.ask("Enter takes all that; a number changes that line", cells=3)
            if not text:
                return
            if text.isascii() and text.isdigit() and 1 <= int(text) <= len(named):
                name = named[int(text) - 1]
                self._ask(name)
                asking.show(taken_over({int(text): name}, self.settings, self.screen, changed=True))

    def twcmanagers(self) -> dict[str, Any]:
        """Settings that TWCManager's config.json gives, whatever wins in the end."""
        alone = load_settings(environ={}, flags={"twcmanager.config_file": self._twc_file()}, found=())
        return {name: value for name, value in alone.values.items() if value.layer is Layer.TWCMANAGER}

    def _twc_file(self) -> str | None:
        return str(self.settings.twc_config.path) if self.settings.twc_config else None

    # -- the questions

    def twcmanager(self) -> None:
        """Where TWCManager is."""
        _title("TWCManager")
        if self.settings.twc_config is None and self._is_open("twcmanager.url"):
            self._ask("twcmanager.url")
        if self.settings.twcmanager().url_given:
            self._stage(("twcmanager.url",), lambda: try_web_control(self.settings.twcmanager()))
        self._look_at_twcmanager()

    def _look_at_twcmanager(self) -> None:
        from tmsync.core.twcmanager.presence import Presence, look_for

        twc = self.settings.twcmanager()
        sighting = look_for(twc, twc.settings_file)
        if not twc.url_given and (twc.config is not None or sighting.presence is Presence.RUNNING):
            asking.say(f"  TWCManager: {sighting.presence} ({sighting.reason})")
        if twc.config is not None and twc.config.sync_tokens:
            asking.say("  Its own syncTokens is on, and it then refuses every other token: set it to false there.")

    def database(self) -> None:
        """TeslaMate's database: reach it, get in, open the tokens."""
        _title("TeslaMate's database")
        if not self._stage(("database.host", "database.port"), lambda: self._climb(Stage.REACH)):
            return
        self._stage(("database.user", "database.name", "database.password"), lambda: self._climb(Stage.ENTER))
        self._stage(("teslamate.encryption_key",), lambda: self._climb(Stage.OPEN))

    def broker(self) -> None:
        """The broker, and whether cars are there."""
        _title("MQTT broker, for watch-mqtt and status")
        names = ("mqtt.host", "mqtt.port", "mqtt.username", "mqtt.password")
        if self._stage(names, lambda: self._listen(namespace=False)):
            self._stage(("mqtt.namespace",), lambda: self._listen(namespace=True))

    def _climb(self, stage: Stage) -> TrialResult:
        return try_database(self.settings, stage, self.clock, self.sources.environ)

    def _listen(self, *, namespace: bool) -> TrialResult:
        found = try_broker(self.settings, self.clock)
        self._namespaces = found.namespaces
        if found.problem is not None and found.is_about_namespace is namespace:
            return TrialResult(failure=found.problem)
        if found.problem is not None and namespace:
            return TrialResult(reached=False)
        return TrialResult("TeslaMate's cars are there" if namespace else "the broker lets this host in")

    def _tell(self, found: Problem) -> None:
        """Tell a problem; where a docker-compose.yml was taken over, without the steps for those without Docker."""
        if self.sources.taken.found:
            found = replace(found, fix=tuple(step for step in found.fix if step.place is not Place.NATIVE))
        asking.show(explain(found, self.screen))

    # -- asking, trying, correcting

    def _stage(self, names: Sequence[str], trial: Callable[[], TrialResult]) -> bool:
        """Ask what is not known, then try; False where the first of `names` was answered with none."""
        for name in names:
            if self._is_open(name) and not self._ask(name):
                return False
        while True:
            result = trial()
            if result.failure is None:
                good = f"  ok: {printable(result.good)}"
                asking.say(good if result.reached else f"  {' and '.join(names)}: not tried, for the reason above")
                return True
            self._tell(result.failure)
            asking.say()
            answer = asking.choose("What now?", AFTER_FAILURE)
            if answer == "k":
                self.kept.append(result.failure.message)
                return True
            if answer == "c":
                for name in names:
                    if not self._ask(name):
                        return False

    def _is_open(self, name: str) -> bool:
        """Whether the question is to be asked: not where something but the default has answered it."""
        if name == "mqtt.password" and not self.settings.get("mqtt.username"):
            return False
        if name == "mqtt.namespace":
            # What most have is nothing; a trial that sees no cars brings the question up.
            return False
        return self.settings.values[name].layer is Layer.DEFAULT and name not in self.answers

    def _ask(self, name: str) -> bool:
        """Ask for one setting until its answer is allowed; False when there is to be none of the kind."""
        setting = BY_NAME[name]
        if name == "mqtt.password" and not self.settings.get("mqtt.username"):
            return True
        question = QUESTIONS.get(name, f"{name}: {setting.help}")
        while True:
            value = self.settings.get(name)
            if setting.secret:
                text = self._ask_secret(setting, question, known=value is not None)
                if not text:
                    if value is not None:
                        return True
                    asking.say("  Nothing was typed.")
                    continue
            else:
                text = asking.ask(question, self._offered(name, value), shown=self._shown(name))
            if name == "twcmanager.url" and text in ("", NONE):
                self._forget(name)
                self.merge()
                return False
            if (text == NONE or not text) and name in OPTIONAL:
                return self._none(name)
            if self._accept(setting, text):
                return True

    def _ask_secret(self, setting: Setting, question: str, *, known: bool) -> str:
        text = as_answer(setting, asking.ask_secret(question, known=known))
        if text != text.strip():
            asking.say("  It begins or ends with a blank, which counts.")
            answer = asking.choose("Which is right?", (("", "removes the blank"), ("k", "keeps it")))
            return text if answer == "k" else text.strip()
        return text

    def _offered(self, name: str, value: object) -> str:
        """What Enter alone takes."""
        if value is None and name == "mqtt.host":
            # Both run on one machine, most of the time.
            value = self.settings.get("database.host")
        if name == "mqtt.namespace" and self._namespaces:
            value = self._namespaces[0] or NONE
        if name == "twcmanager.url" and not self.settings.twcmanager().url_given:
            # Where nobody named one, it is this machine's.
            value = None
        return "" if value is None else shlex.join(value) if isinstance(value, tuple) else str(value)

    def _shown(self, name: str) -> str:
        """What Enter alone takes, in words."""
        value = masked(BY_NAME[name], self.settings.get(name))
        if isinstance(value, tuple):
            return " ".join(value)
        return "none" if name == "twcmanager.url" and not self.settings.twcmanager().url_given else ""

    def _none(self, name: str) -> bool:
        """The answer was: none."""
        if name in ("mqtt.namespace", "mqtt.username"):
            # Said expressly, so that no file that is read below this one has another word in it.
            self.answers[name] = ""
        else:
            self._forget(name)
        self.merge()
        value = self.settings.values[name]
        if value.value:
            asking.say(f"  {printable(value.origin)} sets it anyway: remove it there.")
        return not name.endswith(".host")

    def _forget(self, name: str) -> None:
        sources = self.sources
        variable = BY_NAME[name].env
        self.answers.pop(name, None)
        taken = tuple(one for one in sources.taken.found if one[0].name != name)
        self.sources = replace(
            sources,
            taken=replace(sources.taken, found=taken),
            present=tuple(one for one in sources.present if one[0].name != name),
            environ={key: text for key, text in sources.environ.items() if key != variable},
            flags={key: value for key, value in sources.flags.items() if key != name},
        )

    def _accept(self, setting: Setting, text: str) -> bool:
        text = text if setting.secret else as_answer(setting, text)
        port = ""
        if setting.name in ("database.host", "mqtt.host"):
            text, port = host_and_port(text)
            if text in self.sources.taken.container_names:
                asking.say(f"  {printable(text)} is a container's name: it means nothing outside Docker.")
                return False
        try:
            from_text(setting, text)
        except BadValue as error:
            asking.say(f"  That is not allowed. It takes: {error}.")
            return False
        self.answers[setting.name] = text
        if port:
            self.answers[setting.name.replace(".host", ".port")] = port
        self.merge()
        return True


def _title(text: str) -> None:
    asking.say(f"\n{text}")

"""init's offer of `tmsync serve`, and what is left to do for it."""

import shlex
from pathlib import Path
from typing import Final

from tmsync.commands import asking
from tmsync.commands.interview import Interview
from tmsync.core.config.schema import BY_NAME, BadValue, from_text
from tmsync.core.config.settings import Settings
from tmsync.core.errors import Step
from tmsync.core.files.replace import write_beside
from tmsync.core.setup.schedule import Place, prepare
from tmsync.core.setup.units import UnitPlace, former_proxy, twcmanagers_lines, units
from tmsync.core.setup.write import MARKER
from tmsync.core.twcmanager.settings_file import SettingsFile
from tmsync.render.text import printable

USUAL: Final = "127.0.0.1:8089"
OFFER: Final = """\

tmsync serve
  TWCManager believes TeslaMate's last word for hours after TeslaMate has died. tmsync can answer TWCManager's calls to
  Tesla's API in its place: from TeslaMate while that is to be trusted, from Tesla otherwise.\
"""

MODULES_OFF: Final = (
    'And let its own modules be off there: "enabled": false in "TeslaMate" and "teslaFleetTelemetryMQTT". To go back,'
    " take these lines out again, and restart TWCManager while no car charges."
)


def offer(interview: Interview) -> None:
    """Ask whether serve is wanted, where everything it needs is known."""
    settings = interview.settings
    known = all(settings.get(f"{section}.host") for section in ("database", "mqtt"))
    if not known or settings.get("serve.listen") is not None:
        return None
    asking.say(OFFER)
    if asking.choose("Let tmsync answer TWCManager's Tesla API calls?", (("", "leaves it"), ("y", "does so"))) != "y":
        return None
    while True:
        text = asking.ask("Where tmsync listens", USUAL)
        try:
            from_text(BY_NAME["serve.listen"], text)
        except BadValue as error:
            asking.say(f"  That is not allowed. It takes: {error}.")
            continue
        interview.answers["serve.listen"] = text
        return interview.merge()


def take_over_proxy(interview: Interview) -> None:
    """TWCManager's present teslaProxy becomes serve's upstream, once."""
    settings = interview.settings
    serve = settings.serve()
    if serve is None or serve.upstream is not None:
        return
    found, notes = former_proxy(settings.twc_config, serve)
    for name, value in found.items():
        asking.say(f"  {name} = {printable(str(value))}, from TWCManager's config.json")
    for note in notes:
        asking.say(f"  {printable(note.words)}")
    interview.answers |= found
    interview.merge()


def write_units(settings: Settings, place: Place, folder: Path) -> list[Step]:
    """Write the units into `folder`; the steps that put everything to work."""
    serve = settings.serve()
    steps, program, config = prepare(place, "[serve]")
    if serve is not None:
        lines = "\n".join(twcmanagers_lines(serve))
        steps.append(Step('Put into TWCManager\'s config.json, within "config":', lines))
        steps.append(Step(MODULES_OFF))
    owned = SettingsFile(settings.twcmanager().settings_file).real.parent
    made = units(UnitPlace(place.runner, program, config, owned, serve))
    for name, text in made.items():
        path = folder / name
        # A rename, which follows no link that somebody may have planted there.
        write_beside(path, text.encode(), None, MARKER).replace(path)
        asking.say(f"Written: {printable(str(path))}")
    names = " ".join(shlex.quote(str(folder / name)) for name in made)
    install = f"sudo install -m 0644 {names} /etc/systemd/system/\nsudo systemctl daemon-reload"
    steps.append(Step("Let systemd run it:", f"{install}\nsudo systemctl enable --now {' '.join(reversed(made))}"))
    if serve is not None:
        steps.append(Step("Then restart TWCManager while no car charges:", "sudo systemctl restart twcmanager"))
    return steps

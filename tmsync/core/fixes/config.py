"""Fixes for settings, files and command lines."""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Step
from tmsync.core.fixes import Fixes

TWC_FILE: Final = Step("Set twcmanager.config_file to TWCManager's config.json.")
OWN_LINE: Final = Step("Put the comment on a line of its own: // is one only at the beginning of a line.")

FIXES: Final[Fixes] = {
    Cause.USAGE: (Step("See {program} --help."),),
    (Cause.USAGE, "value"): (Step("It takes: {allowed}. See {program} --help."),),
    (Cause.USAGE, "secret"): (
        Step("Secrets come from the configuration file or from {variables}; tmsync init asks for them."),
    ),
    Cause.MISSING_SETTING: (
        Step("Set it with {places}, or as {key} under [{section}] in {file}."),
        Step("Or let tmsync ask for everything, and write that file:", "{init}"),
    ),
    (Cause.MISSING_SETTING, "nothing"): (
        Step(
            "Set database.host (with database.password, teslamate.encryption_key) for tokens, mqtt.host for telemetry."
        ),
        Step("Or let tmsync ask for everything, and write the file:", "tmsync init"),
    ),
    (Cause.MISSING_SETTING, "facade"): (
        Step("Set database.host, with database.password and teslamate.encryption_key: TeslaMate's token lies there."),
        Step("Or leave serve.listen out."),
    ),
    Cause.UNKNOWN_KEY: (Step("Did you mean {near}?"), Step("Allowed: {names}.")),
    (Cause.UNKNOWN_KEY, "outside"): (Step("Put it below a line that says {sections}."),),
    Cause.WRONG_TYPE: (Step("It takes{how}: {allowed}."),),
    Cause.BAD_VALUE: (Step("It takes: {allowed}."),),
    (Cause.BAD_VALUE, "empty"): (Step("It takes: {allowed}. To have none, leave it out."),),
    (Cause.BAD_VALUE, "twice"): (Step("Keep one of them: the value or the file."),),
    (Cause.BAD_VALUE, "no-secret"): (Step("Put the secret into it, and nothing else."),),
    (Cause.BAD_VALUE, "overridden"): (Step("Correct it there, although tmsync does not use it."),),
    (Cause.BAD_VALUE, "open-listen"): (
        Step("Listen on 127.0.0.1, if TWCManager runs on this host."),
        Step("Else set serve.tls_cert and serve.tls_key, and let TWCManager's teslaProxyCert name the certificate."),
        Step("Or say that the network is to be trusted with it: serve.insecure = true"),
    ),
    (Cause.TLS_NAME_MISMATCH, "serve"): (
        Step(
            "Name under [serve] what the certificate is for, and let TWCManager's teslaProxy say so:",
            'names = ["{name}"]',
        ),
        Step("Or make a certificate for the address that TWCManager calls, and restart tmsync serve."),
    ),
    (Cause.TLS_UNTRUSTED, "serve"): (
        Step("Renew it, give TWCManager the new one (teslaProxyCert), and restart both while no car charges."),
    ),
    (Cause.BAD_VALUE, "same-topics"): (
        Step('Choose a prefix of its own, such as "tmsync": below it tmsync clears what is not its own any more.'),
    ),
    (Cause.BAD_VALUE, "loop"): (
        Step("Leave serve.upstream out; it is for another server that speaks Tesla's API, such as a proxy that signs."),
    ),
    Cause.LOOSE_PERMISSIONS: (Step("Let nobody else read it:", "chmod o-rwx {path}"),),
    (Cause.LOOSE_PERMISSIONS, "settings"): (
        Step("Keep others out of its folder (TWCManager makes the file anew at each save):", "sudo chmod 750 {folder}"),
    ),
    (Cause.BAD_VALUE, "socket-unit"): (
        Step("Let both name one address, in tmsync.socket:", "[Socket]\nListenStream={address}"),
    ),
    (Cause.BAD_VALUE, "no-local-token"): (Step('Set twcmanager.token to "local", and let sync-tokens deliver it.'),),
    Cause.MISSING_PACKAGE: (Step("Install tmsync with what serve needs:", "pipx install --force 'tmsync[serve]'"),),
    Cause.STATE_UNUSABLE: (
        Step("It must belong to the user who runs tmsync, and nobody else may write to it:", "ls -ld {path}"),
        Step("Or name another folder as serve.state_dir."),
    ),
    (Cause.LOOSE_PERMISSIONS, "ignored"): (Step("Let nobody else read it:", "chmod 0600 {path}"),),
    Cause.UNREADABLE_FILE: (Step("Name a file that the user who runs tmsync can read."),),
    (Cause.UNREADABLE_FILE, "absent"): (
        Step("Name an existing file, or leave it out to use ~/.config/tmsync/config.toml."),
    ),
    (Cause.UNREADABLE_FILE, "permission"): (Step("Give it to the user who runs tmsync:", "sudo chown {user} {path}"),),
    (Cause.UNREADABLE_FILE, "hidden"): (
        Step("Let the user who runs tmsync ({user}) into its folder, or name a file elsewhere."),
    ),
    (Cause.UNREADABLE_FILE, "twcmanager"): (
        TWC_FILE,
        Step("Or run tmsync as {user}."),
    ),
    Cause.BAD_SYNTAX: (Step('Fix that line; text stands in quotes, as in  host = "192.168.1.5"'),),
    (Cause.BAD_SYNTAX, "encoding"): (Step("Save it as UTF-8."),),
    (Cause.BAD_SYNTAX, "size"): (Step("Name the right file."),),
    (Cause.BAD_SYNTAX, "twcmanager"): (TWC_FILE,),
    (Cause.BAD_SYNTAX, "twcmanager-line"): (Step("Fix that line; TWCManager cannot read the file either."),),
    (Cause.BAD_SYNTAX, "twcmanager-cut"): (
        Step("Choose a value without '#'; TWCManager cannot read the file either."),
    ),
    (Cause.BAD_SYNTAX, "twcmanager-slashes"): (OWN_LINE,),
    Cause.CUT_BY_COMMENT: (Step("Choose a value without '#', or set it in tmsync's own configuration."),),
    (Cause.CUT_BY_COMMENT, "slashes"): (OWN_LINE,),
    Cause.TLS_NOT_VERIFIED: (Step("Set mqtt.ca_file, and remove mqtt.insecure."),),
}

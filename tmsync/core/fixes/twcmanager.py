"""Fixes for delivery to TWCManager."""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Place, Step
from tmsync.core.fixes import Fixes

NAME_IT: Final = Step("Name TWCManager's settings.json with --twc-settings, or its config.json with --twc-config.")
REPAIR: Final = "Repair the file; it was not touched."
RESTART: Final = Step("Restart TWCManager while no car charges:", "sudo systemctl restart twcmanager")
DISK: Final = Step("See what the kernel reports about the disk:", "sudo dmesg --level err,warn | tail")
RUN_AS: Final = Step(
    "Run tmsync as {folder_owner}, with a configuration that this user can read:",
    "sudo -u {folder_owner} tmsync --config /etc/tmsync/config.toml sync-tokens",
)
SERVE_LOG: Final = "journalctl -u tmsync -n 20 --no-pager"
BY_SERVE: Final = "tmsync serve brings it over within 15 s. If this stays, see what keeps it from that:"
PERMISSIONS: Final = {
    "user": (RUN_AS,),
    "mode": (
        Step("Let {user} use the folder:", "sudo chmod u+rwx {folder}"),
        Step("Let {user} use the file:", "sudo chown {user}: {file}\nsudo chmod u+rw {file}"),
    ),
    "owner": (
        Step("Give it back to {folder_owner}, as whom TWCManager seems to run:", "sudo chown {folder_owner}: {path}"),
        RUN_AS,
    ),
    "folder": (
        Step(
            "If TWCManager runs as {user}, the folder has to belong to that user, too:", "sudo chown {user}: {folder}"
        ),
        RUN_AS,
    ),
}

FIXES: Final[Fixes] = {
    Cause.SYNC_ENABLED_IN_TWCMANAGER: (
        Step("Set vehicle.TeslaMate.syncTokens to false in TWCManager's config.json, then restart TWCManager:",
             "sudo systemctl restart twcmanager"),
    ),
    Cause.SETTINGS_UNREADABLE: (NAME_IT,),
    **{(cause, variant): steps for cause in (Cause.SETTINGS_UNREADABLE, Cause.SETTINGS_UNWRITABLE)
       for variant, steps in PERMISSIONS.items()},
    (Cause.SETTINGS_UNREADABLE, "disk"): (DISK,),
    (Cause.SETTINGS_UNREADABLE, "link"): (
        Step("Name the file itself with --twc-settings, or let the link belong to root or to the owner of the file."),
    ),
    (Cause.SETTINGS_UNREADABLE, "lost-mount"): (
        Step("Mount the folder that holds settings.json instead of the file; until then start this container again."),
    ),
    (Cause.SETTINGS_UNREADABLE, "content"): (Step(REPAIR),),
    (Cause.SETTINGS_UNREADABLE, "content-with-backup"): (
        Step("Repair the file, or, while TWCManager is stopped, copy {backup} over it. It was not touched."),
    ),
    (Cause.SETTINGS_UNREADABLE, "empty"): (Step(f"{REPAIR} If there is nothing to keep, delete it."),),
    (Cause.SETTINGS_UNREADABLE, "for-check"): (Step("Run --check where TWCManager's settings.json can be read."),),
    (Cause.SETTINGS_UNWRITABLE, "no-folder"): (NAME_IT,),
    (Cause.SETTINGS_UNWRITABLE, "disk"): (DISK,),
    (Cause.SETTINGS_UNWRITABLE, "full"): (Step("Free some space.", "df -h {path}"),),
    (Cause.SETTINGS_UNWRITABLE, "read-only"): (
        Step("The file system is mounted read-only: mount it for writing.", "findmnt -T {path}"),
    ),
    (Cause.SETTINGS_UNWRITABLE, "immutable"): (
        Step("Not even root may write it: it, or its folder, is immutable. An i tells which:",
             "lsattr -d {path} {folder}"),
        Step("Then allow it:", "sudo chattr -i {path}"),
    ),
    (Cause.SETTINGS_UNWRITABLE, "unsynced"): (
        Step("See what the kernel reports about the disk; then run it again.", "sudo dmesg --level err,warn | tail"),
    ),
    (Cause.SETTINGS_UNWRITABLE, "damaged"): (
        Step("See what is in the file; its previous content is in {backup}. Then run it again."),
    ),
    (Cause.SETTINGS_UNWRITABLE, "busy"): (Step("Find the program that saves it, or deliver with --via http."),),
    Cause.SETTINGS_RESTORED: (Step("Check that TWCManager still has your settings."),),
    Cause.NOT_KEPT: (
        Step("Use {path} in place of the file's other names, or make them symbolic links to it."),
    ),
    Cause.NOT_ATOMIC: (Step("Mount the folder that holds settings.json instead of the file."),),
    Cause.TWCMANAGER_RUNNING: (
        RESTART,
        Step("Or set twcmanager.restart_command, or deliver with --via http."),
    ),
    (Cause.TWCMANAGER_RUNNING, "overwrites"): (Step("That is a running TWCManager: deliver with --via http."),),
    (Cause.TWCMANAGER_RUNNING, "restart-failed"): (
        RESTART,
        Step("Until then its next save writes its old token over the new one."),
    ),
    (Cause.TWCMANAGER_RUNNING, "no-command"): (
        Step("Set twcmanager.restart_command to a program by its whole path, as a list of arguments."),
    ),
    Cause.RESTART_WAITS: (
        Step("There is nothing to do. To hand the token over at once, let tmsync reach TWCManager's web control."),
    ),
    (Cause.RESTART_WAITS, "unknown"): (
        Step("Let tmsync reach TWCManager's web control, or read TeslaMate's table charging_processes."),
    ),
    Cause.HOLDS_REFRESH_TOKEN: (
        Step("Remove it while no car charges; a push cannot do that:",
             "sudo systemctl stop twcmanager\nsudo -u twcmanager tmsync sync-tokens --via file\n"
             "sudo systemctl start twcmanager"),
    ),
    (Cause.HOLDS_REFRESH_TOKEN, "local"): (
        Step("Remove it while no car charges; a push cannot do that:",
             "sudo systemctl stop twcmanager\n"
             "sudo -u twcmanager env TMSYNC_TWCMANAGER_TOKEN=tesla tmsync sync-tokens --via file\n"
             "sudo systemctl start twcmanager"),
    ),
    Cause.FACADE_NOT_CONFIGURED: (
        Step("Within \"config\" of TWCManager's config.json, put:", "{line}"),
        Step("And below it, so that it trusts the certificate:", "{certificate}"),
        RESTART,
    ),
    (Cause.FACADE_NOT_CONFIGURED, "slash"): (
        Step("Remove the slash at its end in TWCManager's config.json."),
        RESTART,
    ),
    (Cause.FACADE_NOT_CONFIGURED, "unseen"): (
        Step("Set twcmanager.url to TWCManager's web control, or twcmanager.config_file to its config.json."),
    ),
    Cause.TESLAMATE_GONE: (
        Step("Start TeslaMate, which renews its token at once:", "docker compose up -d teslamate", Place.DOCKER),
        Step("Start TeslaMate, which renews its token at once:", "sudo systemctl restart teslamate", Place.NATIVE),
    ),
    Cause.SERVE_NOT_RUNNING: (
        Step("Start it, and see what it says:", f"sudo systemctl restart tmsync\n{SERVE_LOG}"),
    ),
    Cause.LISTEN_FAILED: (
        Step("See which program listens there:", "sudo ss -ltnp"),
        Step("Or set serve.listen to another port, and TWCManager's teslaProxy likewise."),
    ),
    (Cause.LISTEN_FAILED, "privileged"): (
        Step("Set serve.listen to a port from 1024 on, and TWCManager's teslaProxy likewise."),
    ),
    (Cause.LISTEN_FAILED, "not-here"): (
        Step("Set serve.listen to an address of this machine, and TWCManager's teslaProxy likewise. It has:",
             "ip -brief address"),
    ),
    Cause.OWN_TELEMETRY: (
        Step("Set {where}.syncTelemetry to false in TWCManager's config.json: tmsync serve answers in its place."),
        RESTART,
    ),
    Cause.POWERWALL: (
        Step('Keep twcmanager.token = "tesla", or use a newer TWCManager, which asks by way of teslaProxy.'),
    ),
    Cause.TWCMANAGER_REFUSED: (Step("Check that twcmanager.url is TWCManager's."),),
    (Cause.TWCMANAGER_REFUSED, "read-only"): (
        Step("A proxy in front of it seems to allow reading only: name TWCManager's own address with --twc-url, or"
             " deliver with --via file and restart it."),
    ),
    (Cause.TWCMANAGER_REFUSED, "not-taken"): (
        Step("Check that this is its settings.json, that TWCManager may write it, and that its own syncTokens is off."),
    ),
    Cause.TWCMANAGER_UNREACHABLE: (
        Step("Check twcmanager.url and whether TWCManager runs, or deliver with --via file while it is stopped."),
    ),
    (Cause.TWCMANAGER_UNREACHABLE, "stranger"): (
        Step(
            "If that is not TWCManager, see what listens there, and as which user:",
            "sudo ss -ltnp",
        ),
        Step(
            "If it is TWCManager (as in Docker without its userland proxy), name its address, with its port:",
            '[twcmanager]\nurl = "{url}"',
        ),
    ),
    Cause.OUT_OF_SYNC: (
        Step("Bring the token over now:", "tmsync sync-tokens"),
        Step("Then see why the timer does not:", "systemctl list-timers tmsync-sync"),
    ),
    (Cause.OUT_OF_SYNC, "no-database"): (
        Step("Fix the database first, then bring the token over:", "tmsync sync-tokens"),
    ),
    (Cause.OUT_OF_SYNC, "serve"): (
        Step(BY_SERVE, "docker compose logs --tail 20 tmsync", Place.DOCKER),
        Step(BY_SERVE, SERVE_LOG, Place.NATIVE),
    ),
    (Cause.OUT_OF_SYNC, "serve-no-database"): (
        Step("Fix the database: tmsync serve then brings the token over by itself."),
    ),
    Cause.LOCKED: (
        Step("Let it finish; if it hangs, end it. The lock disappears with its process.", "pgrep -af tmsync"),
    ),
    (Cause.LOCKED, "serve"): (
        Step("Let one of them do it all, and end the other:", "pgrep -af 'tmsync.* serve'"),
        Step("Or give each a folder of its own as serve.state_dir, and a publish.prefix."),
    ),
    (Cause.LOCKED, "publish"): (
        Step("End it and do this again: it publishes again whatever changes.", "sudo systemctl stop tmsync"),
    ),
}  # fmt: skip

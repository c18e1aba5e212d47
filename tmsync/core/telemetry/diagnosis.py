"""Why the broker cannot be used: told by evidence, not by messages that change with every version.

Source: MQTT 3.1.1 specification, 3.1 (CONNECT), 3.2 (CONNACK and its return codes); RFC 8446, 5.1 (TLS records).
"""

import errno
import json
import logging
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tmsync.core.causes import Cause
from tmsync.core.config.settings import MqttSettings
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.fixes.network import BROKER
from tmsync.core.fixes.network import where as values_of
from tmsync.core.net.dial import is_name, resolve
from tmsync.core.words import listed

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

NOT_AUTHORISED: Final = frozenset({134, 135})
"""paho's reasons for return codes 4 (bad user name or password) and 5 (not authorised)."""
CONNACK: Final = 0x20
ASK_AGAIN_S: Final = 2.0
"""How long a port gets to show what it speaks, once it has shown no MQTT."""
TLS_ALERT: Final = 0x15
TLS_HANDSHAKE: Final = 0x16
CONNECT: Final = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x0a\x00\x06tmsync"
"""The smallest CONNECT: MQTT 3.1.1, clean session, keep alive 10 s, client id "tmsync", no credentials."""


class ReadableFileMissing(Exception):
    """A certificate or key file cannot be used; the text says which and why."""


def tls_context(target: MqttSettings) -> "ssl.SSLContext":
    """What `target` asks for: its certificate authority, or the system's; its client certificate; verification.

    Raises: ReadableFileMissing.
    """
    from tmsync.core.net.tls import UnusableFile, client_context, identify

    try:
        context = client_context(verify=not target.insecure, roots=target.ca_file)
    except UnusableFile as error:
        raise ReadableFileMissing(f"mqtt.ca_file {target.ca_file}: {error}") from None
    if target.cert_file is not None:
        try:
            identify(context, target.cert_file, target.key_file)
        except UnusableFile as error:
            named = f"mqtt.cert_file {target.cert_file}, mqtt.key_file {target.key_file or 'not set'}"
            raise ReadableFileMissing(f"{named}: {error}") from None
    return context


def resolve_name(target: MqttSettings, timeout: float) -> None:
    """Look the name up with a limit, which the operating system has none of.

    Raises: OSError, UnicodeError.
    """
    if is_name(target.host):
        resolve(target.host, target.port, timeout)


def of_exception(error: Exception, target: MqttSettings) -> Problem:
    """The problem behind an exception that came up while connecting."""
    import ssl

    from tmsync.core.net.tls import NAME_MISMATCH

    place = target.place
    values = values_of(BROKER, target.host, target.port)
    if isinstance(error, ReadableFileMissing):
        return problem(Cause.UNREADABLE_FILE, str(error), variant="pem")
    if isinstance(error, socket.gaierror | UnicodeError):
        message = f"the broker's name {target.host} does not resolve to an address"
        return problem(Cause.UNRESOLVABLE, message, **values)
    if isinstance(error, ssl.SSLCertVerificationError):
        what = "is for another name" if error.verify_code in NAME_MISMATCH else "is not trusted"
        cause = Cause.TLS_NAME_MISMATCH if error.verify_code in NAME_MISMATCH else Cause.TLS_UNTRUSTED
        return problem(cause, f"the certificate of the broker at {place} {what}: {error.verify_message}", **values)
    if isinstance(error, ssl.SSLError | ConnectionResetError | BrokenPipeError) and target.tls:
        return _tls_failed(error, target, place)
    if isinstance(error, TimeoutError) or getattr(error, "errno", None) == errno.ETIMEDOUT:
        return problem(Cause.TIMEOUT, f"the broker at {place} does not answer", **values)
    if isinstance(error, ConnectionRefusedError):
        return problem(Cause.REFUSED, f"no broker listens at {place}", **values)
    if isinstance(error, ConnectionError):
        return problem(Cause.NOT_MQTT, f"{place} closes the connection at once")
    return problem(Cause.UNREACHABLE, f"{place} cannot be reached: {_words(error)}", **values)


def of_refusal(reason: int, words: str, target: MqttSettings) -> Problem:
    """The problem behind a CONNACK that says no. reason: paho's code; words: what it is called."""
    place = target.place
    if reason in NOT_AUTHORISED:
        account = f"the user {target.username}" if target.username else "anonymous clients"
        return problem(Cause.NOT_AUTHORISED, f"the broker at {place} refuses {account}")
    return problem(Cause.REFUSED, f"the broker at {place} refuses: {words}", variant="connack")


def of_refused_subscription(target: MqttSettings, topic: str, *, closed: bool) -> Problem:
    """The problem when the broker lets in but not to `topic`. closed: it hangs up instead of saying so.

    Source: MQTT 3.1.1 specification, 3.9.3 (SUBACK, return code 0x80).
    """
    how = "closes the connection on the subscription" if closed else "refuses the subscription"
    message = f"the broker at {target.place} {how} to {topic}: its access list must let {_user(target)} read it"
    return problem(Cause.NOT_AUTHORISED, message, variant="subscription", **_named_in_access_lists(target))


def of_refused_publishing(target: MqttSettings, topics: Sequence[str]) -> Problem:
    """The problem when the broker takes no message in `topics`, filters; it says so, or hangs up."""
    refused = f"the broker at {target.place} takes nothing that is published in {listed(topics)}"
    message = f"{refused}: its access list must let {_user(target)} write there"
    named = _named_in_access_lists(target)
    named |= {"topic_lines": "\n".join(f"topic readwrite {topic}" for topic in topics), "topics": json.dumps(topics)}
    return problem(Cause.NOT_AUTHORISED, message, variant="publishing", **named)


def _user(target: MqttSettings) -> str:
    return f"user {target.username}" if target.username else "anonymous clients"


def _named_in_access_lists(target: MqttSettings) -> dict[str, Any]:
    return {
        "user_line": f"user {target.username}\n" if target.username else "",
        "emqx_who": f'{{username, "{target.username}"}}' if target.username else "all",
    }


def of_silence(target: MqttSettings) -> Problem:
    """The problem when a connection came about and ended without a CONNACK. Asks the port once more, by hand."""
    timeout = ASK_AGAIN_S
    place = target.place
    if target.tls:
        return _silence_within_tls(target, place, timeout)
    answer = _answer_to_connect(target, timeout)
    if answer is not None and answer[:1] in (bytes([TLS_ALERT]), bytes([TLS_HANDSHAKE])):
        return _speaks_tls(place)
    if (answer is None or not answer) and _shakes_hands(target, timeout):
        return _speaks_tls(place)
    if answer is None:
        return problem(Cause.TIMEOUT, f"{place} accepts the connection and says nothing", variant="silent")
    if _is_from_broker(answer):
        return _too_late(place)
    return problem(
        Cause.NOT_MQTT,
        f"{place} is not an MQTT broker" + (" (a web server answers)" if answer.startswith(b"HTTP/") else ""),
    )


def _silence_within_tls(target: MqttSettings, place: str, timeout: float) -> Problem:
    """TLS came about, and then nothing good. TLS 1.3 tells of a missing client certificate only now."""
    import ssl

    try:
        with (
            socket.create_connection((target.host, target.port), timeout) as sock,
            tls_context(target).wrap_socket(sock, server_hostname=target.host) as secure,
        ):
            secure.sendall(CONNECT)
            if _is_from_broker(secure.recv(64)):
                return _too_late(place)
    except ssl.SSLError as error:
        return _breaks_off(error, target, place)
    except TimeoutError:
        return problem(Cause.TIMEOUT, f"{place} speaks TLS and says nothing inside", variant="silent")
    except (OSError, ValueError, ReadableFileMissing):
        pass
    return problem(Cause.NOT_MQTT, f"{place} speaks TLS, but no MQTT inside")


def _too_late(place: str) -> Problem:
    """It is a broker after all: one that is starting, say, or has just been let go on."""
    return problem(Cause.TIMEOUT, f"the broker at {place} answered at the second attempt only", variant="subscription")


def _breaks_off(error: Exception, target: MqttSettings, place: str) -> Problem:
    variant = "wants-certificate" if target.cert_file is None else "refuses-certificate"
    # Which alert gets through before the connection breaks is chance.
    log.info(f"TLS with {place}: {_words(error)}")
    return problem(Cause.TLS_UNTRUSTED, f"the broker at {place} breaks off TLS", variant=variant)


def _speaks_tls(place: str) -> Problem:
    return problem(Cause.TLS_MISMATCH, f"{place} speaks TLS, and mqtt.tls is off")


def _tls_failed(error: Exception, target: MqttSettings, place: str) -> Problem:
    """TLS was asked for and did not come about: a plain broker, another server, or one that wants a certificate."""
    answer = _answer_to_connect(target, ASK_AGAIN_S)
    if answer is not None and _is_from_broker(answer):
        return problem(
            Cause.TLS_MISMATCH, f"the broker at {place} speaks no TLS, and mqtt.tls is on", variant="plain-broker"
        )
    if answer and answer[0] not in (TLS_ALERT, TLS_HANDSHAKE):
        return problem(Cause.NOT_MQTT, f"{place} is not an MQTT broker")
    return _breaks_off(error, target, place)


def _is_from_broker(answer: bytes) -> bool:
    """Whether what comes back for a CONNECT is a CONNACK."""
    return answer[:1] == bytes([CONNACK])


def _answer_to_connect(target: MqttSettings, timeout: float) -> bytes | None:
    """The first bytes that come back for a plain CONNECT: empty when it hangs up, None when it says nothing."""
    try:
        with socket.create_connection((target.host, target.port), timeout) as sock:
            sock.sendall(CONNECT)
            first = sock.recv(64)
            if first and first[0] != CONNACK and len(first) < 5:
                first += sock.recv(64)
            return first
    except TimeoutError:
        return None
    except OSError:
        return b""


def _shakes_hands(target: MqttSettings, timeout: float) -> bool:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((target.host, target.port), timeout) as sock,
            context.wrap_socket(sock, server_hostname=target.host),
        ):
            return True
    except ssl.SSLError as error:
        # It answered with an alert of its own: TLS all the same, such as one that asks for a client certificate.
        return "alert" in (error.reason or "").lower()
    except (OSError, ValueError):
        return False


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    words = getattr(error, "strerror", None) or (reason if isinstance(reason, str) else None)
    return words or type(error).__name__

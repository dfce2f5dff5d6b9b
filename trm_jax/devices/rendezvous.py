"""Processes meet: one clear line, in each of them, where one does not come or does not agree.

Process 0 listens on the port that JAX's coordinator uses afterwards. Every other one calls and says which of how many
it is ("trm 4 2"). When all have, process 0 frees the port and tells them to go on ("go"), or else what is wrong
("no ..."). JAX's own client would end the process by a signal in such a case, with pages of C++.
"""

import ipaddress
import os
import selectors
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import NoReturn

from trm_jax.devices.launchers import Place
from trm_jax.errors import ConfigError

# Seconds between two knocks at a door that nobody has opened yet.
RETRY = 0.1
# Seconds beyond the time-out in which process 0 still hears those that knock: a machine that stood still lost the rest.
GRACE = 0.5
# Seconds in which process 0 has JAX's service running once it has told the others to go on.
PROMPT = 10


def meet(place: Place, timeout: float) -> tuple[Place, str | None]:
    """Waits until all processes have come to process 0.

    Returns:
      the place, with a loopback address instead of a name of one; where JAX's coordinator is to listen, None for
      every address of this host.

    Raises:
      ConfigError: see `join`.
    """
    deadline = time.monotonic() + timeout
    loopback = _loopback_address(place, deadline, timeout)
    if loopback:
        place = replace(place, host=loopback)
    if place.process == 0:
        _gather(place, bool(loopback), deadline, timeout)
    else:
        _report(place, deadline, timeout)
    return place, place.address if loopback else None


def _loopback_address(place: Place, deadline: float, timeout: float) -> str:
    """The address of the coordinator's host if that is this host's loopback; "" otherwise."""
    while True:
        try:
            found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
            break
        except OSError as error:  # names of pods that have just been made are not known at once
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"no host {place.host} was found within {timeout:g} s ({error.strerror}): correct --coordinator"
                ) from None
            time.sleep(RETRY)
    if place.hosts:
        return ""  # some distributions give a host its own name on the loopback, where no other host can reach it
    addresses = [str(address[0]) for *_, address in found]
    return next((address for address in addresses if ipaddress.ip_address(address).is_loopback), "")


def _gather(place: Place, loopback: bool, deadline: float, timeout: float) -> None:
    """Process 0: waits for all others to report, then frees the port and sends them on."""
    with ExitStack() as stack:
        door = stack.enter_context(_listen(place, loopback))
        watch = stack.enter_context(selectors.DefaultSelector())
        watch.register(door, selectors.EVENT_READ)
        said: dict[socket.socket, bytes] = {}
        came: dict[int, socket.socket] = {}

        def refuse(message: str) -> NoReturn:
            for caller in said:
                _tell(caller, f"no {message}")
            raise ConfigError(message)

        while len(came) < place.processes - 1:
            left = deadline - time.monotonic()
            events = watch.select(max(left, GRACE))
            if (left <= 0 and not events) or left < -10 * GRACE:
                refuse(_missing(place, came, timeout))
            for key, _ in events:
                if key.fileobj is door:
                    caller = stack.enter_context(door.accept()[0])
                    caller.setblocking(False)
                    watch.register(caller, selectors.EVENT_READ)
                    said[caller] = b""
                    continue
                caller = key.fileobj  # type: ignore[assignment]
                more = _receive(caller)
                if more is None:
                    continue
                said[caller] += more
                hello = _understand(said[caller]) if more else None
                if hello is None:  # has gone, or was none of ours to begin with
                    watch.unregister(caller)
                    said.pop(caller)
                    caller.close()
                    came = {number: peer for number, peer in came.items() if peer is not caller}
                elif hello:
                    if fault := _disagreement(place, came, *hello):
                        refuse(fault)
                    came[hello[1]] = caller
        door.close()
        for caller in came.values():
            _tell(caller, "go")


def _listen(place: Place, loopback: bool) -> socket.socket:
    try:
        if loopback:
            family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
            return socket.create_server((place.host, place.port), family=family, backlog=place.processes)
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        return socket.create_server(("", place.port), family=family, dualstack_ipv6=both, backlog=place.processes)
    except OSError as error:
        raise ConfigError(
            f"process 0 cannot listen on port {place.port} ({os.strerror(error.errno or 0)}): "
            "give --coordinator another port, and let only one process be 0"
        ) from None


def _missing(place: Place, came: Mapping[int, object], timeout: float) -> str:
    absent = [number for number in range(1, place.processes) if number not in came]
    names = ", ".join(map(str, absent[:8])) + (", ..." if len(absent) > 8 else "")
    return (
        f"{len(came) + 1} of {place.processes} processes came to {place.address} within {timeout:g} s; missing: {names}"
        " (start them all, or give a longer --start-timeout)"
    )


def _understand(text: bytes) -> tuple[int, int] | tuple[()] | None:
    """How many processes there are and which of them says this; () if it has not said all, None if it is none."""
    line, end, rest = text.partition(b"\n")
    words = line.split(b" ")
    if len(text) > 64 or rest or not text.startswith(b"trm"[: len(text)]):
        return None
    if not end:
        return ()
    if len(words) != 3 or not all(word.isdigit() for word in words[1:]):
        return None
    processes, number = map(int, words[1:])
    return (processes, number) if 0 < number < processes else None


def _disagreement(place: Place, came: Mapping[int, object], processes: int, number: int) -> str:
    if processes != place.processes:
        return (
            f"process {number} was started with --processes={processes}, process 0 with {place.processes}: "
            "give all of them the same"
        )
    if number in came:
        return f"two processes were started with --process={number}: give each its own, 0 to {processes - 1}"
    return ""


def _report(place: Place, deadline: float, timeout: float) -> None:
    """Any other process: finds process 0, says who is there, waits for all, and for JAX's service to be there."""
    while True:
        last = time.monotonic() > deadline
        try:
            with _knock(place, deadline) as caller:
                caller.sendall(f"trm {place.processes} {place.process}\n".encode())
                # Process 0 may have begun to wait later: it knows better who is missing.
                caller.settimeout(max(deadline - time.monotonic(), 0) + 4 * GRACE)
                answer = caller.makefile("rb").readline(1024).decode(errors="replace")
        except TimeoutError:
            trouble = "does not say that all are there"
        except OSError as error:
            trouble = f"cannot be reached: {error.strerror or error}"
        else:
            if answer == "go\n":
                break
            if answer.startswith("no ") and answer.endswith("\n"):
                raise ConfigError(answer.removeprefix("no ").strip())
            trouble = "hangs up" if not answer else "is another program"
        if last:
            raise ConfigError(
                f"process 0 at {place.address} {trouble} ({timeout:g} s): start it, correct --coordinator, "
                "or give a longer --start-timeout"
            )
        time.sleep(RETRY)
    # JAX's client tries but once a second, and ends the process where nobody answers.
    deadline = time.monotonic() + PROMPT
    while True:
        try:
            _knock(place, deadline).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ConfigError(f"process 0 at {place.address} was there and has gone: see what it says") from error
            time.sleep(RETRY / 4)


def _knock(place: Place, deadline: float) -> socket.socket:
    """A connection to process 0, or OSError."""
    try:
        caller = socket.create_connection((place.host, place.port), timeout=max(deadline - time.monotonic(), RETRY))
    except TimeoutError:  # not the one of a process 0 that is there and says nothing
        raise ConnectionError("Connection timed out") from None
    if caller.getsockname() == caller.getpeername():  # TCP lets a socket call itself if its own port is the one called
        caller.close()
        raise ConnectionRefusedError(None, "Connection refused")
    return caller


def _receive(caller: socket.socket) -> bytes | None:
    """What has come; b"" if nothing will any more, None if nothing has after all."""
    try:
        return caller.recv(128)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _tell(caller: socket.socket, text: str) -> None:
    try:
        caller.sendall(f"{text}\n".encode())
    except OSError:
        return  # has gone: it will find out by itself

"""Processes meet before JAX joins them: one clear line, in each of them, where one does not come or does not agree.

JAX's own client would end the process by a signal in such a case, with pages of C++, and joins processes that count
differently without a word. So process 0 first listens at the port that JAX's coordinator uses afterwards. Every other
one calls and says which of how many it is ("trm 4 2"). When all have, process 0 frees the port and tells them to go on
("go"), or else what is wrong ("no ...").
"""

import asyncio
import ipaddress
import os
import re
import socket
import time
from collections.abc import Container
from contextlib import suppress
from dataclasses import replace

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
      ConfigError: see `cluster.join`.
    """
    deadline = time.monotonic() + timeout
    loopback = _loopback_address(place, deadline, timeout)
    if loopback:
        place = replace(place, host=loopback)
    if place.process == 0:
        asyncio.run(_gather(place, bool(loopback), timeout))
    else:
        _report(place, deadline, timeout)
        _wait_for_service(place)
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


async def _gather(place: Place, loopback: bool, timeout: float) -> None:
    """Process 0: waits for all others to report, then frees the port and sends them on."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    visits: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
    heard: list[asyncio.StreamWriter] = []
    came: set[int] = set()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        visits[task] = writer
        with suppress(OSError, ValueError):  # one that breaks off, or says more than any of ours
            said = re.fullmatch(rb"trm (\d{1,9}) (\d{1,9})\n", await reader.readline())
            processes, number = map(int, said.groups()) if said else (0, 0)
            if 0 < number < processes and not answer.done():
                heard.append(writer)
                if fault := _disagreement(place, came, processes, number):
                    answer.set_result(f"no {fault}")
                    return
                came.add(number)
                if len(came) == place.processes - 1:
                    answer.set_result("go")
                await reader.read()  # for as long as it waits; one that goes may come back
                if not answer.done():
                    came.remove(number)
        if not answer.done():
            writer.close()

    door = await asyncio.start_server(receive, sock=_listen(place, loopback), limit=64)
    for seconds in (timeout, GRACE):
        await asyncio.wait([answer], timeout=seconds)
    if not answer.done():
        answer.set_result(f"no {_missing(place, came, timeout)}")
    door.close()
    for writer in visits.values():
        if writer in heard:
            writer.write(f"{answer.result()}\n".encode())
        writer.close()
    await asyncio.gather(*visits)
    if answer.result() != "go":
        raise ConfigError(answer.result().removeprefix("no "))


def _listen(place: Place, loopback: bool) -> socket.socket:
    everywhere = not loopback and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if everywhere or ":" in place.host else socket.AF_INET
    address = (place.host if loopback else "", place.port)
    try:
        return socket.create_server(address, family=family, dualstack_ipv6=everywhere, backlog=place.processes)
    except OSError as error:
        raise ConfigError(
            f"process 0 cannot listen on port {place.port} ({os.strerror(error.errno or 0)}): "
            "give --coordinator another port, and let only one process be 0"
        ) from None


def _disagreement(place: Place, came: Container[int], processes: int, number: int) -> str:
    if processes != place.processes:
        return (
            f"process {number} was started with --processes={processes}, process 0 with {place.processes}: "
            "give all of them the same"
        )
    if number in came:
        return f"two processes were started with --process={number}: give each its own, 0 to {processes - 1}"
    return ""


def _missing(place: Place, came: Container[int], timeout: float) -> str:
    absent = [number for number in range(1, place.processes) if number not in came]
    names = ", ".join(map(str, absent[:8])) + (", ..." if len(absent) > 8 else "")
    return (
        f"{place.processes - len(absent)} of {place.processes} processes came to {place.address} within {timeout:g} s; "
        f"missing: {names} (start them all, or give a longer --start-timeout)"
    )


def _report(place: Place, deadline: float, timeout: float) -> None:
    """Any other process: finds process 0, says who is there, and waits for all."""
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
                return
            if answer.startswith("no ") and answer.endswith("\n"):
                raise ConfigError(answer.removeprefix("no ").strip())
            trouble = "hangs up" if not answer else "is another program"
        if last:
            raise ConfigError(
                f"process 0 at {place.address} {trouble} ({timeout:g} s): start it, correct --coordinator, "
                "or give a longer --start-timeout"
            )
        time.sleep(RETRY)


def _wait_for_service(place: Place) -> None:
    """Waits until JAX's service listens: its client tries but once a second, and ends the process where none does."""
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

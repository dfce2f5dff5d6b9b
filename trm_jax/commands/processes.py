"""Several processes that do one command together."""

import argparse
import os
import sys

from trm_jax.console import hush
from trm_jax.devices import cluster
from trm_jax.devices.compilation import remember_programs


def alone(args: argparse.Namespace) -> bool:
    """Whether this is the only process; commands that know no others always are."""
    return "processes" not in args or cluster.alone(args.coordinator or "", args.processes, args.process)


def join(args: argparse.Namespace) -> None:
    """Joins the other processes, if there are any; of several, the first alone speaks."""
    cluster.join(args.coordinator or "", args.processes, args.process, args.start_timeout)
    if not cluster.is_main():
        hush()
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    remember_programs()

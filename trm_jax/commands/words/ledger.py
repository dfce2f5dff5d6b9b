"""trm ledger and its commands."""

from pathlib import Path

from trm_jax.commands import arguments
from trm_jax.commands.words.shared import Commands, command


def add(commands: Commands) -> None:
    """ledger and its own commands."""
    ledger = commands.add_parser(
        "ledger", help="figures on record: a row for each evaluation", description="Figures on record, row by row."
    )
    _add_kinds(ledger.add_subparsers(title="commands", required=True, metavar="COMMAND"))


def _add_kinds(kinds: Commands) -> None:
    add = command(kinds, "ledger add", "add the row of a run, or of an evaluation of its weights")
    add.add_argument("run", type=Path, metavar="RUN_DIR", help="folder that `trm train` has written")
    add.add_argument("--eval", type=Path, metavar="FILE", help="figures that `trm eval --json FILE` has written")
    add.add_argument("--beside", default="", metavar="TEXT", help="what else the machine did while this was trained")
    add.add_argument("--note", default="", metavar="TEXT", help="what has to be said beside the figures")
    about = "of a run that has not recorded one (trained by an older version)"
    add.add_argument("--commit", type=arguments.commit, metavar="HASH", help=f"the commit {about}")
    add.add_argument("--here", action="store_true", help=f"this is the machine {about}")

    show = command(kinds, "ledger show", "print the ledger as a table")
    show.add_argument("--experiment", default="", metavar="NAME", help="rows of this one alone, with its variants")
    show.add_argument("--rows", type=arguments.names, default=[], metavar="ID,ID", help="these rows alone")
    show.add_argument("--columns", type=arguments.names, default=[], metavar="NAME,NAME", help="these columns alone")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="for a page, under a line by which `check` knows it")
    form.add_argument("--json", action="store_true", help="the rows themselves")

    check = command(kinds, "ledger check", "look whether rows are well-formed and tables on our pages equal them")
    for sub in (add, show, check):
        sub.add_argument(
            "--ledger", type=arguments.jsonl_file, metavar="FILE", help="another ledger than the repository's"
        )

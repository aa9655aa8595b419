"""The command `qexp-cache`: what is cached, its size and what made it; and removing it."""

import time
from pathlib import Path

from qexp.cache import Entry, entries, remove
from qexp.errors import ConfigError, near_miss
from qexp.paths import cache_root
from qexp.streams import Parser, command

DAY = 24 * 3600


@command("qexp-cache")
def main() -> None:
    """Run `qexp-cache ls|rm`; exit with 2 for bad input, or if something is held by a running job."""
    words = _parser().parse_args()
    root = cache_root(words.cache_dir)
    try:
        if words.command == "ls":
            _list(root)
        else:
            _remove(root, chosen(entries(root), words.names, words.older_than, words.all))
    except OSError as error:
        raise ConfigError(f"{error.filename or root}: {error.strerror}; see whose it is") from error


def _parser() -> Parser:
    parser = Parser("qexp-cache", description="What qexp has cached: ls shows it, rm removes it.")
    parser.add_argument("--cache-dir", help="default: $QEXP_CACHE_DIR, else qexp in the user's cache")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", help="show every entry, its size and what made it, least recently used first")
    rm = commands.add_parser("rm", help="remove entries; what a running job holds stays")
    rm.add_argument("names", nargs="*", metavar="NAME", help="as ls shows them")
    rm.add_argument("--older-than", type=float, metavar="DAYS", help="whatever was not used for so many days")
    rm.add_argument("--all", action="store_true", help="everything")
    return parser


def chosen(cached: list[Entry], names: list[str], older_than: float | None, everything: bool) -> list[Entry]:
    """Return the entries that are asked for; raise ConfigError for a name that is not there, and for no choice."""
    if bool(names) + (older_than is not None) + everything != 1:  # together they could mean both or either
        raise ConfigError("rm: say what to remove: names, --older-than DAYS or --all, one of them")
    if older_than is not None and not older_than >= 0:
        raise ConfigError(f"--older-than {older_than:g}: must be 0 or more days")
    known = {entry.name for entry in cached}
    for name in names:
        if name not in known:
            raise ConfigError(f"{name}: not in the cache{near_miss(name, known)}")
    before = time.time() - (older_than or 0) * DAY
    return [
        entry
        for entry in cached
        if everything or entry.name in names or (older_than is not None and entry.used < before)
    ]


def _list(root: Path) -> None:
    from qexp.report.terminal import WORDS, Column, console, fitted

    cached, out = entries(root), console()
    columns = [*(Column(name, left=True, folds=WORDS) for name in ("name", "used", "made from")), Column("MiB")]
    rows = [
        [entry.name, time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used)), entry.about, _mib(entry.bytes)]
        for entry in cached
    ]
    if cached:
        out.print(fitted(None, columns, rows, out.width), crop=False)
    print(f"{len(cached)} entries, {_mib(sum(entry.bytes for entry in cached))} MiB in {root}")


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f}"


def _remove(root: Path, doomed: list[Entry]) -> None:
    kept = [entry for entry in doomed if not remove(root, entry)]
    gone = [entry for entry in doomed if entry not in kept]
    print(f"removed {len(gone)} of {len(doomed)} entries, {_mib(sum(entry.bytes for entry in gone))} MiB")
    if kept:
        names = ", ".join(entry.name for entry in kept)
        raise ConfigError(f"left, for a running job holds or may be making them: {names}")

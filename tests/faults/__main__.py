"""The fault-injection suite: `python -m tests.faults`, or `make faults`.

Everything that can happen to a session happens to a real one: its processes are killed, its clock jumps, its messages
and files are damaged, its disk is full. At the end stands a table; status 1 where anything in it failed. Ctrl-C gives
the table so far. The same seed does the same again, but for the moments at which processes meet.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from pathlib import Path

from tests.faults import clock, disk, files, folders, kills, messages, plain, removed, soak, sockets
from tests.faults.base import Context, Faults, Finding, table

#: What `--only` may name, in the order in which all of it is run.
ALL: dict[str, Faults] = {
    "messages": messages.faults,
    "sockets": sockets.faults,
    "files": files.faults,
    "folders": folders.faults,
    "disk": disk.faults,
    "removed": removed.faults,
    "clock": clock.faults,
    "plain": plain.faults,
    "kills": kills.faults,
    "soak": soak.faults,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the suite, or what is asked for of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=Context.seed)
    parser.add_argument("--kills", type=int, default=Context.kills, help="kill -9 of monitors and workers")
    parser.add_argument("--soak", type=int, default=Context.soak, help="frames of the long soak")
    parser.add_argument("--messages", type=int, default=Context.messages, help="mutated, of each protocol")
    parser.add_argument("--files", type=int, default=Context.files, help="mutated, of each format")
    parser.add_argument("--stall", type=float, default=Context.stall_s, help="of a copy that stalls [s]")
    parser.add_argument("--only", default=",".join(ALL), metavar="NAME,...", help=", ".join(ALL))
    parser.add_argument("--json", type=Path, metavar="F", help="the findings with their figures")
    options = parser.parse_args(arguments)
    names = [name for name in options.only.split(",") if name]
    if unknown := [name for name in names if name not in ALL]:
        parser.error(f"nothing is called {', '.join(unknown)}; there are {', '.join(ALL)}")
    folder = Path(tempfile.mkdtemp(prefix="faultwatch-faults-"))
    context = Context(
        folder,
        seed=options.seed,
        kills=options.kills,
        soak=options.soak,
        messages=options.messages,
        files=options.files,
        stall_s=options.stall,
    )
    findings: list[Finding] = []
    interrupted = False
    for name in names:
        try:
            for finding in ALL[name](context):
                findings.append(finding)
        except KeyboardInterrupt:
            interrupted = True
            break
        except Exception:
            findings.append(Finding(name, failures=[traceback.format_exc()]))
    print(table(findings))
    if options.json is not None:
        options.json.write_text(json.dumps([finding.as_json() for finding in findings], indent=1))
    failed = any(finding.failed for finding in findings)
    if failed:
        print(f"\nwhat did harm is in {folder}", file=sys.stderr)
    if interrupted:
        print("interrupted: this is the table so far", file=sys.stderr)
    return 1 if failed or interrupted else 0


if __name__ == "__main__":
    sys.exit(main())

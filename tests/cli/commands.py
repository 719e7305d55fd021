"""Commands as a user gives them, in this process or in one of their own."""

import io
import logging
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from lotbench import cli

LOTBENCH = [sys.executable, "-m", "lotbench"]

Done = subprocess.CompletedProcess[str]


def process(*arguments: object, cwd: Path | None = None) -> Done:
    """A command in a process of its own, which takes seconds to import what it needs."""
    return subprocess.run(
        [*LOTBENCH, *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


def call(*arguments: object, cwd: Path | None = None) -> Done:
    """The same in this process."""
    command, log = ["lotbench", *map(str, arguments)], logging.getLogger("lotbench")
    level, code, out, err = log.level, 0, io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(out),
        redirect_stderr(err),
        chdir(cwd or "."),
    ):
        patch.setattr("sys.argv", command)
        patch.setattr(log, "handlers", [])
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            log.setLevel(level)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def app(*arguments: object) -> int:
    """The exit code of a command in this process, where bad input raises an `InputError`."""
    return cli.app([*map(str, arguments)], standalone_mode=False) or 0

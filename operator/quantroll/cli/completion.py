"""Tab completion: a script for `quantroll` in each shell, and the program by which kubectl completes its plugin."""

import contextlib
import io
import os
import shlex
import sys
from enum import StrEnum
from typing import Annotated

import typer
from typer import completion as typers

_PROGRAM, _VARIABLE = "quantroll", "_QUANTROLL_COMPLETE"
_NO_FILES = 4  # ShellCompDirectiveNoFileComp of cobra, which kubectl reads from the last line

# Typer registers its shells only for programs with its own flags for this; they would also edit the user's files.
typers.completion_init()  # type: ignore[attr-defined]


class Shell(StrEnum):
    """Shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
    """Print the script that completes `quantroll` with the tab key: source <(quantroll completion bash).

    `kubectl quantroll` needs none where kubectl's own completion is set up: kubectl asks kubectl_complete-quantroll.
    """
    typer.echo(
        typers.get_completion_script(  # type: ignore[attr-defined]
            prog_name=_PROGRAM, complete_var=_VARIABLE, shell=shell.value
        )
    )


def for_kubectl() -> None:
    """Print what may follow these arguments, the last of which is being typed; then what the shell is to do with it."""
    from quantroll.cli.main import app  # noqa: PLC0415 - it has the command above

    words = [_PROGRAM, *(sys.argv[1:] or [""])]
    os.environ |= {_VARIABLE: "complete_bash", "COMP_WORDS": shlex.join(words), "COMP_CWORD": str(len(words) - 1)}
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        app(args=[], prog_name=_PROGRAM)
    for line in filter(None, said.getvalue().splitlines()):
        print(line)
    print(f":{_NO_FILES}")

"""Shell completion: the scripts for shells, and the ids and names that the service knows.

A script asks this program for completions, and offers files only where the program answers FILES: an argument
without completions of its own has none. Typer's scripts offer files wherever there is nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from placet_cli.session import Session
    from placet_client import PlacetClient

# The last part of the only completion where a file is expected; no other completion ends with it.
FILES = ":placet-files:"
# For all that a completion asks of the service.
SECONDS = 1.0
_MOST = 50


class Shell(StrEnum):
    """Shells that a script is there for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


# All three ask as typer's bash script does: the words, and the number of the one to complete.
_SCRIPTS = {
    Shell.BASH: f"""\
# eval "$(placet --completion bash)"
_placet_completion() {{
    local IFS=$'\\n'
    COMPREPLY=( $(env COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD="$COMP_CWORD" \\
        _PLACET_COMPLETE=complete_bash "$1" 2>/dev/null) )
    if [[ "${{COMPREPLY[0]-}}" == *{FILES} ]]; then
        COMPREPLY=()
        compopt -o default
    fi
}}
complete -F _placet_completion placet
""",
    Shell.ZSH: f"""\
# eval "$(placet --completion zsh)", after compinit
_placet_completion() {{
    local -a answers
    answers=("${{(@f)$(env COMP_WORDS="${{words[*]}}" COMP_CWORD=$((CURRENT - 1)) \\
        _PLACET_COMPLETE=complete_bash $words[1] 2>/dev/null)}}")
    if [[ "$answers[1]" == *{FILES} ]]; then
        _files
    elif [[ -n "$answers[1]" ]]; then
        compadd -a answers
    fi
}}
compdef _placet_completion placet
""",
    Shell.FISH: f"""\
# placet --completion fish | source
function __placet_completion
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l all (string join ' ' -- $words $word)
    set -l answers (env COMP_WORDS="$all" COMP_CWORD=(count $words) \\
        _PLACET_COMPLETE=complete_bash $words[1] 2>/dev/null)
    if string match -q '*{FILES}' -- "$answers[1]"
        __fish_complete_path "$word"
    else
        printf '%s\\n' $answers
    end
end
complete --command placet --no-files --arguments '(__placet_completion)'
""",
}


def script_of(shell: Shell) -> str:
    """The script that makes a shell complete placet's commands."""
    return _SCRIPTS[shell]


def files(incomplete: str) -> list[str]:
    """Completion of an argument that is a file or a folder."""
    return [incomplete + FILES]


def request_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Completion of a request's id: those of the newest requests."""
    return _ids(context, incomplete, ())


def open_request_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Completion of an open request's id."""
    return _ids(context, incomplete, ("PENDING",))


def policy_names(context: typer.Context, incomplete: str) -> list[str]:
    """Completion of a policy's name."""

    async def asked(client: PlacetClient) -> list[str]:
        return [one.name for one in await client.policies()]

    return _answered(context, asked)


def _ids(context: typer.Context, incomplete: str, states: tuple[str, ...]) -> list[str]:
    async def asked(client: PlacetClient) -> list[str]:
        found = await client.list(limit=_MOST, states=states)
        # As short as they are shown elsewhere, unless more of one was typed.
        length = 8 if len(incomplete) <= 8 else None
        return [one.approval_id[:length] for one in found.approvals]

    return _answered(context, asked)


def _answered(context: typer.Context, ask: Callable[[PlacetClient], Awaitable[list[str]]]) -> list[str]:
    """The service's answer; none when there is no service, no right or no time."""

    async def answer() -> list[str]:
        async with _session_of(context).client(patience=0) as client, asyncio.timeout(SECONDS):
            return await ask(client)

    try:
        return asyncio.run(answer())
    except Exception:  # noqa: BLE001 (a shell that completes has nowhere to show an error)
        return []


def _session_of(context: typer.Context) -> Session:
    """The session of the options that were typed so far."""
    from placet_cli.session import Session

    common = ("home", "port_base", "identity")
    before, after = context.find_root().params, context.params
    home, port_base, identity = (after.get(name) or before.get(name) for name in common)
    return Session.of(None if home is None else Path(home), port_base, identity, json=False)

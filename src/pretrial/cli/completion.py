"""`completion`: what makes a shell complete commands, slugs and options.

The script holds all words itself, so that completing starts no Python. Printing it takes some
seconds, since the options of every method are looked up; do it once, and after an update.
docs/training.md says where each shell looks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretrial import cli, discover, status
from pretrial.errors import UserError, nearest

_TAKE_SLUGS = ("info", "demo", "train", "trial", "compare", "check")
_BASH = """\
_pretrial() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}} slug=${{COMP_WORDS[2]}} words=
  if (( COMP_CWORD == 1 )); then
    words="{commands} --help --version"
  elif [[ ${{COMP_WORDS[COMP_CWORD-1]}} == --preset ]]; then
    words="auto tiny small base"
  elif [[ $cur == -* ]]; then
    case $command in
      train)
        words="{common}"
        case $slug in
{settings}
        esac ;;
      *) words="--config --help" ;;
    esac
  else
    case $command in
      {take_slugs}) (( COMP_CWORD == 2 )) || [[ $command == compare ]] && words="{slugs}" ;;
      completion) words="bash zsh fish" ;;
      data) words="{data}" ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _pretrial pretrial
"""


def completion(argv: Sequence[str]) -> None:
    """Prints the script of a shell."""
    if len(argv) != 1 or argv[0] not in _SHELLS:
        given = f", not {argv[0]!r}; the nearest: {nearest(argv[0], _SHELLS)}" if argv else ""
        raise UserError(f"pretrial completion takes one of {', '.join(_SHELLS)}{given}")
    print(_SHELLS[argv[0]](), end="")


def _bash() -> str:
    from pretrial.data.builtin.kinds import KINDS

    common, settings = _options()
    cases = [f'          {slug}) words+=" {" ".join(own)}" ;;' for slug, own in settings.items()]
    return _BASH.format(
        commands=" ".join(cli.COMMANDS),
        common=" ".join(common),
        settings="\n".join(cases),
        take_slugs="|".join(_TAKE_SLUGS),
        slugs=" ".join(discover.methods()),
        data=" ".join(KINDS),
    )


def _zsh() -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash()}"


def _fish() -> str:
    from pretrial.data.builtin.kinds import KINDS

    first, seen = "__fish_use_subcommand", "__fish_seen_subcommand_from"
    lines = [
        f"complete -c pretrial -n {first} -f -a {name} -d '{summary.replace(chr(39), '')}'"
        for name, (summary, _) in cli.COMMANDS.items()
    ]
    for words, names in (
        (discover.methods(), _TAKE_SLUGS),
        (KINDS, ("data",)),
        (("bash", "zsh", "fish"), ("completion",)),
    ):
        lines.append(
            f"complete -c pretrial -n '{seen} {' '.join(names)}' -f -a '{' '.join(words)}'"
        )
    common, settings = _options()
    for condition, own in (
        (f"{seen} train", common),
        *((f"{seen} train; and {seen} {slug}", own) for slug, own in settings.items()),
    ):
        lines += [f"complete -c pretrial -n '{condition}' -l {name[2:]}" for name in own]
    return "\n".join(lines) + "\n"


def _options() -> tuple[list[str], dict[str, list[str]]]:
    """The options that train has for all methods, and further ones by slug."""
    from pretrial.cli import config_file, options
    from pretrial.cli.train import parts_of

    settings: dict[str, list[str]] = {}
    common: list[str] = []
    for slug in status.each(list(discover.methods()), "looking up options"):
        try:
            loaded = discover.load(slug)
        except UserError:  # a package is not installed, and then it cannot be trained either
            settings[slug] = []
            continue
        parts: dict[str, Any] = parts_of(loaded, loaded.config())
        settings[slug] = options.names(parts.pop("config"))
        common = options.names(options.merge(**parts))
    return [*common, config_file.FLAG, "--help"], settings


_SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

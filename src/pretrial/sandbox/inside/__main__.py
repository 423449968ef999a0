"""Where the worker begins: `python -P -s <this folder>`, see `zygote`."""

from __future__ import annotations

import forks


def main() -> None:
    with forks.held_back():
        import preamble

        preamble.import_modules()
        import zygote
    zygote.main()


if __name__ == "__main__":
    main()

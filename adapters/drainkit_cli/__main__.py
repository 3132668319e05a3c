"""``python -m drainkit_cli`` is ``drainkit``."""

from . import main

if __name__ == "__main__":
    main(prog_name="python -m drainkit_cli")

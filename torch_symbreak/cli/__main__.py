"""Run ``python -m torch_symbreak.cli``."""

from torch_symbreak.cli import main

# Processes that this one spawns import the file again, under another name.
if __name__ == "__main__":
    main()

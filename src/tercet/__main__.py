"""`python -m tercet` is the command `tercet`."""

from tercet.cli import entry

if __name__ == "__main__":
    entry()

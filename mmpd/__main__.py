"""`python -m mmpd`: the command `mmpd`."""

from .cli import main

if __name__ == '__main__':
    main()

"""`python -m cloudchamber`."""

from cloudchamber.cli import main

main()

"""Run the command line as `python -m retrieval`."""

from retrieval.cli import main

main()

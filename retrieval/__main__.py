"""Run the command line as `python -m retrieval`."""

from retrieval.cli.app import main

main()

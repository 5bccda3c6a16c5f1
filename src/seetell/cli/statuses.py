"""The exit statuses of the command line; ``seetell.cli.main`` says what each means."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_GATE = 3
EXIT_INTERRUPTED = 130
EXIT_OUTPUT_CLOSED = 141

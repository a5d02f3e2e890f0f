"""The command line, `segpipe VERB`: arguments, printing and exit codes."""

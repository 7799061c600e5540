"""The command line. ``main`` holds the commands' names; each command is a module of its own."""

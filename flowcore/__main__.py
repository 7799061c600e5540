"""``python -m flowcore`` is ``flowcore``.

In: the process's arguments. Out: an exit code. Not here: commands (cli).
"""

import sys

from flowcore.cli.__main__ import start

if __name__ == "__main__":
    sys.exit(start())

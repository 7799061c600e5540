"""``python -m flowcore.cli`` is ``flowcore``: how a command starts another one in its own Python."""

import sys

from flowcore.cli.main import main

sys.exit(main())

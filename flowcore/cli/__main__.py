"""``python -m flowcore.cli`` is ``flowcore``: a command starts another one in its own Python."""

import sys

from flowcore.cli.main import main

sys.exit(main())

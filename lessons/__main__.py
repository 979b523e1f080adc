"""`python -m lessons`."""

import sys

from lessons.machinery.commands import main

sys.exit(main())

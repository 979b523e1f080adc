"""For all tests: import llmasos before torch, so that its threads wait politely (see `llmasos/__init__.py`)."""

import llmasos  # noqa: F401

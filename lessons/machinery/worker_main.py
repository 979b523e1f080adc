"""`python -m lessons.machinery.worker_main JOB`: start a worker in its own process tree.

The kernel allows that only for a single-threaded process, so this happens before torch is imported.
"""

import sys
from pathlib import Path

from lessons.machinery.sandbox import enter_namespaces

if __name__ == "__main__":
    job = Path(sys.argv[1])
    text = job.read_text(encoding="utf-8")
    job.unlink()
    enter_namespaces(str(job.parent))
    from lessons.machinery.worker import main

    main(text, job.parent)

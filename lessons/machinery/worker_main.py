"""`python -m lessons.machinery.worker_main JOB`: start a worker in its own process tree.

The kernel grants one only to a single-threaded process, so this happens before torch is imported.
"""

import sys

from lessons.machinery.sandbox import enter_namespaces

if __name__ == "__main__":
    enter_namespaces()
    from lessons.machinery.worker import main

    main(sys.argv[1])

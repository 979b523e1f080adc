"""`python -m lessons.machinery.worker_main JOB`: start a worker in a process tree of its own.

The kernel gives one only to a process without threads, so it is asked for before torch is imported.
"""

import sys

from lessons.machinery.sandbox import own_process_tree

if __name__ == "__main__":
    own_process_tree()
    from lessons.machinery.worker import main

    main(sys.argv[1])

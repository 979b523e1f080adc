"""How the course works: lessons, exercises, checks, grading.

Reading order: `exercises` (what an author declares), `cells` and `discovery` (a lesson's files), `comparison`,
`execution` (call a function on a case), `static_checks`, `diagnosis` and `grading` (whether it is right, and why not),
`forbidden`, `sandbox`, `worker_main`, `worker` and `runner` (a student's code in its own process), `check`,
`workspace`, `grade`, `commands`; then `lesson_api`, `pictures` and `notebook`, which the lessons themselves use.
"""

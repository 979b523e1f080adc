"""How the course works: lessons, exercises, checks, grading.

In the order in which to read: `exercises` (what an author declares), `cells` and `catalogue` (a lesson's files),
`values`, `observe` (trying a function on a case), `judge` (right or wrong, and which mistake), `forbidden`, `confine`,
`alone`, `worker` and `supervise` (somebody else's code, in a process of its own), `check`, `workspace`, `grade`,
`commands`; and `stage`, `pictures` and `notebook` for the lessons themselves.
"""

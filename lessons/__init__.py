"""The course. `python -m lessons` shows the syllabus; each lesson is a folder `NN_name/` (see README.md)."""

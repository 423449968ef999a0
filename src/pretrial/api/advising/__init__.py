"""Does training help on my data? What `pretrial advise` does, as functions.

- `looking`: what the data is, what repeats in it, and rows to learn from and to be tested on;
- `choosing`: what is tried, and why;
- `trying`: one try in a process of its own, within its time;
- `weighing`: what came out, against what needs no training;
- `course`: all of it, within the time that was given, and going on where it was stopped.
"""

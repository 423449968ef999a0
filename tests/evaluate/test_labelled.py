"""Tasks and trials with labels: rows without one are no class of their own, and are counted."""

import json
import math

import pytest
import torch

from pretrial.compare.kit import few_labels, packages
from pretrial.errors import UserError
from pretrial.evaluate.accuracy import measure_accuracy
from pretrial.evaluate.finetune import measure_finetuning
from pretrial.evaluate.probe import measure_probe
from pretrial.evaluate.retrieval import measure_retrieval
from pretrial.methods.code.codet5 import CodeT5
from pretrial.methods.code.codet5 import Config as CodeT5Config
from pretrial.methods.text.never_from_scratch import NeverFromScratch
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run
from pretrial.train.stage import Trainable

MISSING = [None, math.nan, ""]


class Linear(Trainable):
    """A classifier of the vectors of `Model`."""

    def __init__(self, num_labels):
        super().__init__()
        self.layer = torch.nn.Linear(2, num_labels)

    def batch(self, examples, generator):
        texts, labels = zip(*examples, strict=True)
        return {"x": vectors(texts), "y": torch.tensor(labels), "counts": {"examples": len(texts)}}

    def losses(self, batch):
        return {"loss": torch.nn.functional.cross_entropy(self.layer(batch["x"]), batch["y"])}

    def logits(self, texts):
        return self.layer(vectors(texts)).detach()


def vectors(texts):
    return torch.tensor([[float(text.split()[1]), 1.0] for text in texts])


class Model:
    def encode(self, texts):
        return vectors(texts)

    def classifier(self, num_labels):
        return Linear(num_labels)

    def read(self, rows):
        return [row["text"] for row in rows]

    def classify(self, texts):
        return ({"label": int(text.split()[1]) % 2} for text in texts)


def rows_with(label):
    rows = [{"text": f"text {i}", "label": label(i)} for i in range(24)]
    del rows[1]["label"]
    return rows


ROWS = rows_with(lambda i: MISSING[i % 9 // 3] if i % 3 == 0 else i % 2)
NUM_MISSING = 8 + 1


@pytest.mark.parametrize(
    "measure",
    [
        lambda rows: measure_probe(Model(), rows, num_train=6),
        lambda rows: measure_finetuning(Model(), rows, num_train=6, epochs=1, batch_size=2),
        lambda rows: measure_accuracy(Model(), rows),
        lambda rows: measure_retrieval(Model(), rows, label="label"),
    ],
)
@pytest.mark.filterwarnings("ignore:fine-tuning collapsed")
def test_a_missing_label_is_no_class(measure):
    notes = measure(ROWS).notes
    assert notes["num_without_label"] == NUM_MISSING
    assert notes.get("num_classes", 2) == 2
    assert (
        "num_without_label"
        not in measure([row for row in ROWS if row.get("label") in (0, 1)]).notes
    )
    with pytest.raises(UserError, match="no row has a label"):
        measure([{**row, "label": None} for row in ROWS])
    with pytest.raises(UserError, match="'label' of row 0 is a list: give each row one label"):
        measure(rows_with(lambda i: ["a", "b"][: 1 + i % 2]))


def test_trials_with_few_labels_leave_such_rows_out(tmp_path):
    source = tmp_path / "rows.jsonl"
    texts = [
        {
            "text": f"word {i} of {m}",
            "image": "x.png",
            "module": f"m{m}",
            "label": [None, "a", "b"][m % 3],
        }
        for m in range(60)
        for i in range(2)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in texts))
    found = few_labels.split(str(source), 10, 20)
    assert found.name.endswith("10 with labels; 40 without a label left out")
    assert {row["label"] for row in found.test} == {"a", "b"}
    halves = packages.data(str(source), 10)
    assert {row["label"] for half in halves.test for row in half} == {"a", "b"}


def test_training_on_labels_leaves_such_rows_out(tmp_path, capsys):
    rows = NeverFromScratch.sample_rows()
    examples = NeverFromScratch.read([*rows, {**rows[0], "label": math.nan}])
    method = NeverFromScratch.build(NeverFromScratch.Config.tiny(), data=examples)
    assert set(method.network.config.id2label.values()) == {str(row["label"]) for row in rows}
    train(method, Run(tmp_path / "long", examples, budget=Budget(2, "steps")))
    assert "1 sequences without a label are left out" in "".join(capsys.readouterr())

    code = [
        {"code": f"def f{i}(a):\n    return a + {i}\n", "label": ("x", "y", None, math.nan)[i % 4]}
        for i in range(32)
    ]
    config = CodeT5Config.tiny()
    config = type(config)(**{**vars(config), "task": "classify"})
    classifier = CodeT5.build(config, data=CodeT5.read(code))
    assert classifier.labels == ["x", "y"]
    train(classifier, Run(tmp_path / "code", CodeT5.read(code), budget=Budget(1, "steps")))
    assert "16 training rows without a label are left out" in "".join(capsys.readouterr())

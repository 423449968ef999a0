"""Probe and fine-tuning with few labels."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pretrial.errors import UserError
from pretrial.evaluate.labelled import split_labelled
from pretrial.evaluate.tasks import evaluate
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.train.stage import Trainable

LETTERS = "abcdefgh"


def rows(num_rows=300, seed=0):
    """Texts in which the label's letter is the most frequent."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(num_rows):
        label = rng.choice(["a", "b", "c"], p=[0.5, 0.3, 0.2])
        letters = [*rng.choice(list(LETTERS), 6), *[label] * 5]
        made.append({"text": "".join(rng.permutation(letters)), "label": label})
    return made


def counts(texts):
    return torch.tensor([[float(text.count(c)) for c in LETTERS] for text in texts])


class Linear(Trainable):
    """A classifier of letter counts."""

    def __init__(self, num_labels, blind=False):
        super().__init__()
        self.head = nn.Linear(len(LETTERS), num_labels)
        self.blind = blind

    def batch(self, examples, generator):
        texts, labels = zip(*examples, strict=True)
        return {
            "texts": counts(texts),
            "labels": torch.tensor(labels),
            "counts": {"examples": float(len(texts))},
        }

    def losses(self, batch):
        features = batch["texts"] * (0 if self.blind else 1)
        loss = cross_entropy(self.head(features), batch["labels"], reduction="sum")
        return {"loss": loss / batch["counts"]["examples"]}

    @torch.no_grad()
    def logits(self, texts):
        return self.head(counts(texts) * (0 if self.blind else 1))


class Letters:
    """A method with both abilities."""

    def __init__(self, blind=False):
        self.blind = blind

    def encode(self, texts):
        return counts(texts) * (0 if self.blind else 1)

    def classifier(self, num_labels, pooling="first"):
        return Linear(num_labels, self.blind)


@pytest.mark.parametrize("task", ["probe", "finetune"])
def test_separable_labels_are_learnt_and_blind_models_reach_the_majority(task):
    options = {"num_train": 100, **({"epochs": 20, "lr": 0.05} if task == "finetune" else {})}
    result = evaluate(task, Letters(), rows(), **options)
    notes = result.notes
    assert result.metrics["accuracy"].value > 0.9
    assert notes["num_classes_guessed"] == 3
    assert abs(notes["num_train"] - 100) <= 1
    assert len(result.items["accuracy"]) == notes["num_test"] == 300 - notes["num_train"]
    blind = evaluate(task, Letters(blind=True), rows(), **options)
    assert blind.metrics["accuracy"].value == pytest.approx(blind.notes["majority_accuracy"])
    assert blind.notes["num_classes_guessed"] == 1


def test_fine_tuning_that_guesses_one_class_warns():
    with pytest.warns(UserWarning, match="collapsed: all 199 examples were given the label 'a'"):
        evaluate("finetune", Letters(blind=True), rows(), num_train=100, epochs=20, lr=0.05)


def test_fine_tuning_is_the_same_for_the_same_seed():
    options = {"num_train": 60, "epochs": 2}
    first = evaluate("finetune", Letters(), rows(), **options)
    assert evaluate("finetune", Letters(), rows(), **options) == first
    assert evaluate("finetune", Letters(), rows(), seed=1, **options) != first


def test_the_split_keeps_the_proportions_and_the_rest():
    data = rows(200)
    pairs = [(row["text"], row["label"]) for row in data]
    train, test, names = split_labelled(pairs, 50, seed=3)
    assert names == ["a", "b", "c"]
    assert len(train) + len(test) == 200
    shares = [sum(row["label"] == name for row in data) / 200 for name in names]
    for place, share in enumerate(shares):
        assert abs(sum(label == place for _, label in train) - 50 * share) <= 1
    assert train != split_labelled(pairs, 50, seed=4)[0]


@pytest.mark.parametrize(
    ("data", "num_train", "word"),
    [
        ([{"text": "a", "label": 1}] * 9, 5, "9 rows with 1 labels"),
        (rows(20), 20, "another num_train"),
        (rows(20), 2, "another num_train"),
        ([{"text": "a", "labels": 1}], 5, "found: text, labels"),
    ],
)
def test_data_that_do_not_do_are_refused(data, num_train, word):
    with pytest.raises(UserError, match=word):
        evaluate("probe", Letters(), data, num_train=num_train)


class Tokens:
    """A tokenizer of letters, with the call of a transformers tokenizer."""

    def __call__(self, texts, truncation, max_length, padding, return_tensors, **_):
        ids = [[2, *(3 + LETTERS.index(c) for c in text)][:max_length] for text in texts]
        longest = max(map(len, ids))
        return {
            "input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in ids]),
            "attention_mask": torch.tensor(
                [[1] * len(row) + [0] * (longest - len(row)) for row in ids]
            ),
        }


def test_text_classifier_trains_a_transformers_model():
    from transformers import BertConfig, BertForSequenceClassification

    class Bert:
        def classifier(self, num_labels, pooling="first"):
            config = BertConfig(
                vocab_size=11, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=16, num_labels=num_labels,
            )  # fmt: skip
            return TextClassifier(BertForSequenceClassification(config), Tokens(), 16)

    result = evaluate("finetune", Bert(), rows(), num_train=200, epochs=15, lr=3e-3)
    assert result.metrics["accuracy"].low > result.notes["majority_accuracy"]


def test_text_classifier_keeps_its_mode_and_ignores_padding():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16, num_labels=2,
    )  # fmt: skip
    classifier = TextClassifier(BertForSequenceClassification(config), Tokens(), 8)
    classifier.train()
    together = classifier.logits(["ab", "abcdefgh", "c"])
    assert classifier.training
    apart = torch.cat([classifier.logits([text]) for text in ("ab", "abcdefgh", "c")])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)
    batch = classifier.batch([("ab", 1), ("abcdefgh", 0)], torch.Generator())
    assert batch["counts"] == {"examples": 2.0, "tokens": 3.0 + 8.0}
    classifier.eval()
    with torch.no_grad():
        want = cross_entropy(together[:2], torch.tensor([1, 0]))
        torch.testing.assert_close(classifier.losses(batch)["loss"], want)


def test_a_classifier_with_labels_of_its_own_is_measured_on_all_rows() -> None:
    class Reader:
        """Says what the text says."""

        @staticmethod
        def read(rows):
            return [row["text"] for row in rows]

        def classify(self, examples):
            return ({"label": text} for text in examples)

    rows = [{"text": text, "label": label} for text, label in (("1", 1), ("2", 2), ("1", 2))]
    result = evaluate("accuracy", Reader(), rows)
    assert result.items["accuracy"] == [1.0, 1.0, 0.0]
    assert result.notes["majority_accuracy"] == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="no field 'label' in the data"):
        evaluate("accuracy", Reader(), [{"text": "1"}])

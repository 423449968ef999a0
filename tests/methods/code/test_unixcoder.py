"""UniXcoder: who sees whom, objectives, generation with a cache, parity, checkpoints, abilities."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import try_to_load_from_cache
from transformers import AutoModel, RobertaConfig, RobertaModel, RobertaTokenizer

from pretrial.errors import UserError
from pretrial.methods.code.unixcoder import Config, UniXcoder, abilities
from pretrial.methods.code.unixcoder.config import TASKS
from pretrial.methods.code.unixcoder.data.fragments import Item
from pretrial.methods.code.unixcoder.data.sequences import collate
from pretrial.methods.code.unixcoder.data.vocabulary import MODES, Vocabulary
from pretrial.methods.code.unixcoder.network import Reading, generate, logits_of, states_of
from pretrial.methods.code.unixcoder.stages import Turn, Turns
from pretrial.train.budget import Budget
from pretrial.train.run import Run

ROWS = UniXcoder.sample_rows()
FRAGMENTS = UniXcoder.read(ROWS)
TINY = Config.tiny()
CODE = ROWS[0]["code"]
README_CODE = "def f(a,b): if a{}b: return a else return b"
FRAGMENTS_OF = {name: [row[name] for row in ROWS[:4]] for name in ("code", "comment")}


def make(**changes):
    torch.manual_seed(0)
    return UniXcoder.build(replace(TINY, **changes), data=FRAGMENTS)


@pytest.fixture(scope="module")
def method():
    return make().eval()


@pytest.fixture(scope="module")
def items(method):
    return [item for item in method.items(FRAGMENTS) if len(item.code)]


def sample(method, objective, item, seed=0, **changes):
    sampler = replace(method.sampler, config=replace(method.config, **changes))
    return sampler.sample(objective, item, torch.Generator().manual_seed(seed))


def batch_of(method, objective, items, seed=0):
    turns = [Turn(objective, item) for item in items]
    return method.batch(turns, torch.Generator().manual_seed(seed))


def text(method, ids):
    return method.tokenizer.convert_ids_to_tokens(ids)


# -- who sees whom --------------------------------------------------------------------------------


def changed(method, ids, place, pattern, source_length=None):
    """True at the positions whose states change with the token at a place [T]."""
    ids = torch.tensor([ids])
    other = ids.clone()
    other[0, place] = 300 if int(ids[0, place]) != 300 else 301
    real = torch.ones_like(ids, dtype=torch.bool)
    lengths = None if source_length is None else torch.tensor([source_length])
    with torch.no_grad():
        states = [states_of(method.network, each, real, pattern, lengths) for each in (ids, other)]
    return (states[0] - states[1]).abs().amax(-1)[0] > 1e-6


def test_completion_leaves_what_stands_before_an_edit_as_it_is(method, items):
    ids = sample(method, "left_to_right", items[0]).input_ids
    for place in (4, len(ids) // 2, len(ids) - 1):
        moved = changed(method, ids, place, "causal")
        assert not moved[:place].any()
        assert moved[place:].all()


def test_a_target_never_moves_its_source_and_a_source_moves_all(method, items):
    made = sample(method, "generate", items[0])
    ids, length = made.input_ids, made.source_length
    assert not changed(method, ids, length + 1, "prefix", length)[:length].any()
    assert changed(method, ids, 5, "prefix", length).all()


def test_modes_give_different_states_for_the_same_text_under_the_same_mask(method):
    ids = method.tokens.ids_of(CODE)
    sequences = torch.tensor([method.sampler.wrapped(mode, ids) for mode in MODES])
    with torch.no_grad():
        real = torch.ones_like(sequences, dtype=torch.bool)
        states = states_of(method.network, sequences, real, "bidirectional")[:, 3:]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (states[one] - states[other]).abs().amax() > 1e-4


def test_the_output_matrix_is_that_of_the_embeddings(method):
    states = torch.randn(3, TINY.width)
    expected = states @ method.network.get_input_embeddings().weight.T
    torch.testing.assert_close(logits_of(method.network, states), expected)


# -- objectives -----------------------------------------------------------------------------------


def test_sequences_are_laid_out_as_released(method, items):
    item, special = items[0], ["<s>", "</s>"]
    for objective, mode in (
        ("masked", "<encoder-only>"),
        ("contrast", "<encoder-only>"),
        ("left_to_right", "<decoder-only>"),
        ("denoise", "<encoder-decoder>"),
        ("generate", "<encoder-decoder>"),
    ):
        tokens = text(method, sample(method, objective, item).ids)
        assert tokens[:3] == [special[0], mode, special[1]]
        assert tokens[-1] == special[1]


def test_masked_positions_ask_for_the_original_tokens(method, items):
    made = sample(method, "masked", items[0], mask_prob=1.0)
    assert made.positions == made.predicted
    num_ordinary = len(made.ids) - 4
    assert len(made.predicted) == round(0.15 * num_ordinary)
    assert all(made.input_ids[place] == method.tokens.mask for place in made.predicted)
    rest = set(range(len(made.ids))) - set(made.predicted)
    assert all(made.input_ids[place] == made.ids[place] for place in rest)


def test_spans_put_back_in_the_place_of_their_masks_give_the_content(method, items):
    content = [*items[0].comment.tolist(), *items[0].code.tolist()][:80]
    item = Item(items[0].code[:0], torch.tensor(content).numpy(), "python")
    lengths = set()
    for seed in range(20):
        made = sample(method, "denoise", item, seed)
        source, target = made.ids[3 : made.source_length - 1], made.ids[made.source_length : -1]
        masks = [token for token in target if token in method.tokens.masks]
        assert masks == method.tokens.masks[: max(int(len(content) * 0.15 / 5), 1)]
        spans = {}
        for token in target:
            if token in masks:
                spans[token] = []
                last = token
            else:
                spans[last].append(token)
        lengths |= {len(span) for span in spans.values()}
        restored = []
        for token in source:
            restored += spans.get(token, [token])
        assert restored == content
        assert len(made.ids) <= TINY.max_length
        # the first token of the target is asked of the last of the source
        assert made.positions[0] == made.source_length - 1
        assert [place + 1 for place in made.positions] == made.predicted
        assert made.predicted[-1] == len(made.ids) - 1
    assert min(lengths) >= 1
    assert max(lengths) <= 9
    assert len(lengths) > 4


def test_code_and_comment_change_places_half_of_the_time(method, items):
    item, swapped = items[0], []
    mask = method.tokens.masks[0]
    for seed in range(200):
        made = sample(method, "generate", item, seed, drop_prob=1.0)
        source, target = made.ids[: made.source_length], made.ids[made.source_length :]
        assert source[3] == target[0] == mask
        comment, code = item.comment.tolist(), method.tokens.without_marks(item.code).tolist()
        swapped.append(source[4:-1] == comment)
        first, second = (comment, code) if swapped[-1] else (code, comment)
        assert source[4:-1] == first
        assert target[1:-1] == second
    assert 75 < sum(swapped) < 125


def test_marks_are_dropped_half_of_the_time_all_or_none(method, items):
    item = items[0].without_comment()
    whole = int(method.tokens.is_mark[item.code].sum())
    kept = []
    for seed in range(200):
        ids = sample(method, "contrast", item, seed, max_length=500, num_positions=502).ids
        kept.append(sum(bool(method.tokens.is_mark[place]) for place in ids))
    assert set(kept) == {0, whole}
    assert 75 < kept.count(0) < 125


def test_contrast_is_of_the_code_or_half_of_the_time_of_the_comment(method, items):
    item, comments = items[0], []
    without = method.tokens.without_marks(item.code).tolist()
    for seed in range(200):
        content = sample(method, "contrast", item, seed, drop_prob=1.0).ids[3:-1]
        comments.append(content == item.comment.tolist())
        assert comments[-1] or content == without
    assert 75 < sum(comments) < 125
    alone = item.without_comment()
    assert sample(method, "contrast", alone, drop_prob=1.0).ids[3:-1] == without


def test_long_sequences_keep_the_end_in_completion_and_the_beginning_elsewhere(method):
    numbers = torch.arange(100, 300).numpy()
    item = Item(numbers, numbers[:0], "python")
    assert sample(method, "left_to_right", item).ids[-2] == 299
    for objective in ("masked", "contrast"):
        ids = sample(method, objective, item).ids
        assert len(ids) == TINY.max_length
        assert ids[3] == 100
    for objective in ("denoise", "generate"):
        long = Item(numbers, numbers, "python")
        assert len(sample(method, objective, long).ids) <= TINY.max_length


def test_two_passes_agree_in_eval_mode_and_differ_under_dropout(method, items):
    noisy = make(dropout_prob=0.1)
    batch = batch_of(noisy, "contrast", items[:8])
    again = batch["input_ids"], batch["attention_mask"]
    assert torch.equal(*again[0].chunk(2))
    for training, agree in ((False, True), (True, False)):
        noisy.train(training)
        with torch.no_grad():
            states = states_of(noisy.network, *again, "bidirectional")
        weights = again[1].unsqueeze(-1).float()
        means = (states * weights).sum(1) / weights.sum(1)
        cosines = F.cosine_similarity(*means.chunk(2))
        assert bool((cosines > 1 - 1e-6).all()) == agree
        assert bool((cosines < 1 - 1e-4).all()) != agree


@pytest.mark.parametrize("objective", TINY.multimodal)
def test_every_objective_can_be_learnt(objective, items):
    learner = make(dropout_prob=0.1)
    batch = batch_of(learner, objective, items[:8])
    optimizer = torch.optim.Adam((p for p in learner.parameters() if p.requires_grad), lr=3e-3)
    seen = []
    for _ in range(25):
        loss = learner.losses(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    assert sum(seen[-3:]) < 0.8 * sum(seen[:3])


def test_losses_are_those_of_the_equations(method, items):
    for objective in ("masked", "left_to_right", "denoise", "generate"):
        batch = batch_of(method, objective, items[:3])
        total, count = 0.0, 0
        for row in range(3):
            sequence = sample_of(method, objective, items[row], row)
            length = sequence.source_length
            ids = torch.tensor([sequence.input_ids])
            places = torch.arange(ids.shape[1])
            allowed = torch.ones(len(places), len(places), dtype=torch.bool)
            if objective == "left_to_right":
                allowed = allowed.tril()
            elif objective != "masked":
                allowed = allowed.tril()
                allowed[:length, :length] = True
            mask = torch.zeros(allowed.shape).masked_fill(~allowed, -1e30)[None, None]
            with torch.no_grad():
                states = method.network(ids, attention_mask=mask).last_hidden_state[0]
                scores = states @ method.network.get_input_embeddings().weight.T
            for here, there in zip(sequence.positions, sequence.predicted, strict=True):
                total -= float(scores[here].log_softmax(-1)[sequence.ids[there]])
                count += 1
        assert batch["counts"]["predicted"] == count
        loss = float(method.losses(batch)["loss"].detach())
        assert loss == pytest.approx(total / count, rel=1e-4)


def sample_of(method, objective, item, row):
    """The sample that `batch_of` has in a row."""
    seeds = torch.randint(2**62, (3,), generator=torch.Generator().manual_seed(0)).tolist()
    generator = torch.Generator().manual_seed(seeds[row])
    return method.sampler.sample(objective, item, generator)


def test_the_contrastive_loss_is_infonce_over_the_batch(method, items):
    batch = batch_of(method, "contrast", items[:6])
    loss = float(method.losses(batch)["loss"].detach())
    with torch.no_grad():
        states = states_of(
            method.network, batch["input_ids"], batch["attention_mask"], "bidirectional"
        )
    means = [s[r].mean(0) for s, r in zip(states, batch["attention_mask"], strict=True)]
    unit = F.normalize(torch.stack(means[:6]), dim=-1)
    expected = F.cross_entropy(unit @ unit.T / TINY.temperature, torch.arange(6))
    assert loss == pytest.approx(float(expected), rel=1e-4)


def test_a_search_is_learnt_from_comments_against_the_codes_of_the_batch(method, items):
    batch = batch_of(method, "align", items[:4])
    assert batch["counts"]["examples"] == 4
    rows = [
        row[mask].tolist()[3:-1]
        for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    assert rows[:4] == [item.comment.tolist() for item in items[:4]]
    for row, item in zip(rows[4:], items[:4], strict=True):
        assert (
            method.tokens.without_marks(torch.tensor(row).numpy()).tolist()
            == (method.tokens.without_marks(item.code).tolist()[: len(row)])
        )
    comments, codes = method.encode(FRAGMENTS_OF["comment"]), method.encode(FRAGMENTS_OF["code"])
    scores = F.normalize(comments, dim=-1) @ F.normalize(codes, dim=-1).T
    expected = F.cross_entropy(scores / TINY.temperature, torch.arange(4))
    plain = replace(method.sampler, config=replace(method.config, drop_prob=1.0))
    samples = plain.samples("align", items[:4], torch.Generator().manual_seed(0))
    batch = collate("align", samples, 4, method.tokens.pad)
    assert float(method.losses(batch)["loss"].detach()) == pytest.approx(float(expected), rel=1e-4)


# -- the order of training ------------------------------------------------------------------------


def test_objectives_alternate_from_batch_to_batch(items):
    turns = Turns(items, TINY.multimodal, 4, 0.7, seed=0)
    batches = [turns[start : start + 4] for start in range(0, len(turns), 4)]
    assert len(batches) == 5 * 3
    assert all(len({turn.objective for turn in batch}) == 1 for batch in batches)
    names = [batch[0].objective for batch in batches]
    assert names[:3] == ["masked", "left_to_right", "denoise"]
    assert {names.count(name) for name in TINY.multimodal} == {3}
    # every item comes once in each pass
    one_pass = [id(turn.item) for batch in batches[:3] for turn in batch]
    assert len(set(one_pass)) == 12


def test_batches_are_of_one_language_and_rare_ones_come_up_more_often(items):
    item = items[0]
    common = [item._replace(language="python") for _ in range(900)]
    rare = [item._replace(language="ruby") for _ in range(100)]
    few = [item._replace(language="go") for _ in range(3)]
    turns = Turns([*common, *rare, *few], ("masked",), 10, 0.7, seed=0)
    shares = []
    for start in range(0, len(turns), 10):
        languages = {turn.item.language for turn in turns[start : start + 10]}
        assert "ruby" not in languages or languages == {"ruby"}
        shares.append(languages == {"ruby"})
    expected = 100**0.7 / (100**0.7 + 903**0.7)  # 0.18, by number 0.1
    assert sum(shares) / len(shares) == pytest.approx(expected, abs=0.07)


def test_too_few_examples_for_a_batch_are_refused(items):
    with pytest.raises(UserError, match="set batch_size to 3 or less"):
        Turns(items[:3], ("masked",), 4, 0.7, seed=0)


def stages_of(method, fragments, tmp_path):
    run = Run(tmp_path, fragments, budget=Budget(80, "steps"), quiet=True)
    return {stage.name: stage for stage in method.stages(run)}


def test_text_then_code_then_pairs_share_the_budget(method, tmp_path):
    stages = stages_of(method, FRAGMENTS, tmp_path)
    assert {name: stage.budget.amount for name, stage in stages.items()} == {
        "text": 50,
        "code": 20,
        "pairs": 10,
    }
    assert stages["code"].data.objectives == TINY.unimodal
    assert stages["pairs"].data.objectives == TINY.multimodal
    assert not any(len(item.comment) for item in stages["code"].data.items)
    assert all(len(item.comment) for item in stages["pairs"].data.items)
    assert not any(len(item.code) for item in stages["text"].data.items)


def test_code_without_comments_trains_without_generating_them(method, tmp_path):
    bare = UniXcoder.read([{"code": row["code"]} for row in ROWS if row["code"]])
    stages = stages_of(method, bare, tmp_path)
    assert list(stages) == ["code", "pairs"]
    assert "generate" not in stages["pairs"].data.objectives
    assert "contrast" in stages["pairs"].data.objectives


@pytest.mark.parametrize(("task", "objective"), TASKS.items())
def test_a_task_is_one_stage_without_marks(task, objective, tmp_path):
    tuned = make(task=task)
    stages = stages_of(tuned, FRAGMENTS, tmp_path)
    assert list(stages) == [task]
    data = stages[task].data
    assert data.objectives == (objective,)
    assert not any(tuned.tokens.is_mark[item.code].any() for item in data.items)
    assert all(len(item.comment) for item in data.items) == (task != "complete")
    assert tuned.sampler.swap_prob == 0
    assert stages[task].optim.lr == TINY.task_lr
    bare = UniXcoder.read([{"code": row["code"]} for row in ROWS if row["code"]])
    if task != "complete":
        with pytest.raises(UserError, match=f"task {task} needs code with comments"):
            stages_of(tuned, bare, tmp_path / "bare")


# -- rows -----------------------------------------------------------------------------------------


def test_a_docstring_becomes_the_comment_and_leaves_the_code():
    code = 'def f(x):\n    """Give it back.\n\n    At once."""\n    return x  # as it is\n'
    fragment = UniXcoder.read([{"code": code}])[0]
    assert fragment.said == "Give it back."
    assert "Give" not in fragment.bare
    assert "as it is" not in fragment.bare
    assert "return x" in fragment.bare


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "x"}, "no field 'code'"),
        ({"code": 3}, "'code' of row 0 is a int"),
        ({"code": "x", "comment": 3}, "'comment' of row 0 is a int"),
        ({"code": " ", "comment": None}, "neither code nor a comment"),
    ],
)
def test_rows_that_cannot_be_used_are_named(row, words):
    with pytest.raises(UserError, match=words):
        UniXcoder.read([row])


def test_code_that_does_not_parse_is_trained_on_all_the_same(method):
    broken = UniXcoder.read([{"code": "def f(:\n  ''' oops", "comment": "Broken."}])
    item = method.items(broken)[0]
    assert len(item.code)
    assert len(item.comment)


# -- generation -----------------------------------------------------------------------------------


def test_a_cache_gives_the_logits_of_whole_passes(method):
    ids = method.tokens.ids_of(CODE)
    for pattern in ("causal", "prefix"):
        prompts = [[0, 4, 2, *ids[:9]], [0, 4, 2, *ids[:4]], [0, 4]]
        reading = Reading(method.network, prompts, pattern, 2)
        new = torch.tensor([[7, 9], [30, 40], [300, 301]])
        with torch.no_grad():
            first = reading.feed(new[:, :1])
            kept = reading.select(torch.tensor([2, 0, 0]))
            second = reading.feed(new[[2, 0, 0], 1:])
        torch.testing.assert_close(kept, first[[2, 0, 0]])
        for row, place in enumerate([2, 0, 0]):
            whole = torch.tensor([[*prompts[place], *new[place].tolist()]])
            lengths = torch.tensor([len(prompts[place])]) if pattern == "prefix" else None
            real = torch.ones_like(whole, dtype=torch.bool)
            with torch.no_grad():
                states = states_of(method.network, whole, real, pattern, lengths)
                expected = logits_of(method.network, states)[0]
            torch.testing.assert_close(first[place], expected[-2], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(second[row], expected[-1], rtol=1e-5, atol=1e-5)


def plain_beam(network, prompt, pattern, num_beams, limit, eos):
    """The search of the release, one prompt at a time and without a cache."""
    source = len(prompt)

    def log_probs(ids):
        ids = torch.tensor([ids])
        real = torch.ones_like(ids, dtype=torch.bool)
        lengths = torch.tensor([source]) if pattern == "prefix" else None
        with torch.no_grad():
            states = states_of(network, ids, real, pattern, lengths)
            return logits_of(network, states[0, -1]).log_softmax(-1)

    beams, ended, topped = [(0.0, [])], [], False
    for _ in range(limit):
        if topped and len(ended) >= num_beams:
            break
        grown = []
        for score, ids in beams:
            if ids[-1:] != [eos]:
                row = log_probs([*prompt, *ids])
                grown += [(score + float(p), [*ids, token]) for token, p in enumerate(row)]
        beams = sorted(grown, key=lambda one: -one[0])[:num_beams]
        ended += [beam for beam in beams if beam[1][-1] == eos]
        topped |= beams[0][1][-1] == eos
    still = [beam for beam in beams if beam[1][-1] != eos]
    ranked = sorted(ended, key=lambda one: -one[0]) + sorted(still, key=lambda one: -one[0])
    return [ids for _, ids in ranked[:num_beams]]


@pytest.mark.parametrize("pattern", ["causal", "prefix"])
def test_beams_are_those_of_the_release(method, pattern):
    ids = method.tokens.ids_of(CODE)
    prompts = [[0, 5, 2, *ids[:6]], [0, 5, 2, *ids[:11]], [0, 5, 2, *ids[3:5]]]
    options = {"num_beams": 3, "max_new_tokens": 5}
    open_ended = plain_beam(method.network, prompts[0], pattern, 3, 5, eos=-1)
    eos = open_ended[1][2]  # a token that ends some continuations and not all
    found = generate(method.network, prompts, pattern, eos={eos}, **options)
    for prompt, ways in zip(prompts, found, strict=True):
        assert ways == plain_beam(method.network, prompt, pattern, 3, 5, eos)
    assert any(way[-1] == eos for ways in found for way in ways)


# -- parity and checkpoints -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def public(tmp_path_factory, method):
    """A randomly initialised checkpoint in the layout of microsoft/unixcoder-base."""
    folder = tmp_path_factory.mktemp("microsoft") / "unixcoder-base"
    folder.mkdir()
    model = json.loads(method.tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary = {**model["vocab"], **method.tokenizer.get_added_vocab()}
    merges = [" ".join(pair) for pair in model["merges"]]
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    special = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    about = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 1024} | special
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=len(vocabulary),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        max_position_embeddings=1026,
        type_vocab_size=10,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        architectures=["RobertaModel"],
    )
    network = RobertaModel(config)
    config.save_pretrained(folder)
    # older versions of transformers wrote this buffer as a weight, and pickled all
    state = network.state_dict() | {"embeddings.position_ids": torch.arange(1026)[None]}
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def test_a_public_checkpoint_loads_by_folder_with_its_keys_and_comes_back(public, tmp_path):
    state = torch.load(public / "pytorch_model.bin", weights_only=True)
    del state["embeddings.position_ids"]
    loaded = UniXcoder.build(Config(), source=public).eval()
    for name, weight in loaded.export().state_dict().items():
        assert torch.equal(weight, state.pop(name)), name
    assert not state
    assert loaded.config.num_positions == 1026
    assert loaded.config.num_types == 10
    assert loaded.config.max_length == 1024
    loaded.save(tmp_path)
    again = UniXcoder.build(Config(), source=tmp_path).eval()
    torch.testing.assert_close(again.encode([CODE]), loaded.encode([CODE]), rtol=1e-5, atol=1e-5)
    theirs = AutoModel.from_pretrained(tmp_path).state_dict()
    assert theirs.keys() == again.network.state_dict().keys()


def test_embeddings_are_those_of_the_released_recipe(public):
    tokenizer = RobertaTokenizer.from_pretrained(public)
    network = RobertaModel.from_pretrained(public).eval()
    texts = [CODE, "return maximum value", "x"]
    vectors = UniXcoder.build(Config(), source=public).encode(texts)
    for vector, code in zip(vectors, texts, strict=True):
        tokens = ["<s>", "<encoder-only>", "</s>", *tokenizer.tokenize(code), "</s>"]
        ids = torch.tensor([tokenizer.convert_tokens_to_ids(tokens)])
        with torch.no_grad():
            states = network(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        torch.testing.assert_close(vector, states[0].mean(0), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(
    not isinstance(try_to_load_from_cache("microsoft/unixcoder-base", "config.json"), str),
    reason="needs microsoft/unixcoder-base in the cache of the hub",
)
def test_cosines_of_the_released_checkpoint_are_those_of_its_readme():
    texts = ["return maximum value", *(README_CODE.format(sign) for sign in "><")]
    vectors = UniXcoder.build(Config(), source="microsoft/unixcoder-base").encode(texts)
    cosines = F.cosine_similarity(vectors[:1], vectors[1:])
    torch.testing.assert_close(cosines, torch.tensor([0.3002, 0.1881]), rtol=0, atol=2e-4)


def test_prompts_are_those_of_the_release(public):
    loaded = UniXcoder.build(Config(), source=public)
    tokenizer = RobertaTokenizer.from_pretrained(public)
    words = tokenizer.tokenize(CODE)
    described = loaded.sampler.described(loaded.tokens.ids_of(CODE))
    tokens = ["<s>", "<encoder-decoder>", "</s>", "<mask0>", *words, "</s>"]
    assert described == tokenizer.convert_tokens_to_ids(tokens)
    assert loaded.sampler.prefix("<decoder-only>") == tokenizer.convert_tokens_to_ids(
        ["<s>", "<decoder-only>", "</s>"]
    )


def test_a_checkpoint_of_another_kind_is_refused(tmp_path, method):
    with pytest.raises(UserError, match="microsoft/unixcoder-base"):
        UniXcoder.build(TINY, source=tmp_path)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="is a bert checkpoint"):
        UniXcoder.build(TINY, source=tmp_path / "bert")


def test_a_plain_roberta_vocabulary_is_refused():
    from pretrial.models.tokenizers import learn_bpe

    tokenizer = learn_bpe(["a b"], 300)
    with pytest.raises(UserError, match="no <encoder-only>, <decoder-only>"):
        Vocabulary(tokenizer, "roberta-base")


def test_paper_size_is_that_of_the_release():
    with torch.device("meta"):
        network = UniXcoder.build(Config.paper()).export()
    assert sum(p.numel() for p in network.parameters()) == 125_929_728
    assert network.embeddings.word_embeddings.weight.shape == (51_416, 768)


# -- abilities ------------------------------------------------------------------------------------


def test_encode_does_not_depend_on_the_neighbours(method):
    texts = [CODE, "", "add all prices", CODE * 20]
    together = method.encode(texts, batch_size=4)
    assert together.shape == (4, TINY.width)
    for row, each in zip(together, texts, strict=True):
        torch.testing.assert_close(row, method.encode([each])[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(method.encode(FRAGMENTS[:1])[0], together[0], rtol=1e-4, atol=1e-5)


def test_classifiers_and_vectors_of_tokens_read_in_the_mode_that_embeds(method):
    [vectors, (states, spans)] = method.encode([CODE]), method.token_vectors([CODE])[0]
    assert CODE[slice(*spans[0])] == "def"
    assert states.shape == (len(spans), TINY.width)
    batch = method.classifier(2, "mean").batch([(CODE, 0), ("x", 1)], torch.Generator())
    prefix = method.sampler.prefix("<encoder-only>")
    assert batch["input_ids"][:, :3].tolist() == [prefix, prefix]
    assert vectors.shape == (1, TINY.width)
    assert method.classifier(2).logits([CODE]).shape == (1, 2)


def test_search_finds_the_text_itself_first(method, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    codes = [row["code"] for row in ROWS if row["code"]]
    corpus.write_text("".join(json.dumps({"code": code}) + "\n" for code in codes))
    kept = str(tmp_path / "index")
    for _ in range(2):  # the second time from the index that was kept
        rows = list(method.search(FRAGMENTS[:3], corpus=str(corpus), top=2, index=kept))
        assert [row["results"][0]["code"] for row in rows] == codes[:3]
        assert rows[0]["results"][0]["score"] == pytest.approx(1, abs=1e-5)
        assert len(rows[0]["results"]) == 2
    with pytest.raises(UserError, match="no field 'text'"):
        list(method.search(FRAGMENTS[:1], corpus=str(corpus), field="text"))


def test_texts_come_out_of_completion_description_and_filling(method):
    rows = list(method.complete([CODE[:30], CODE[:10]], num_beams=2, max_new_tokens=5))
    assert all(set(row) == {"text"} for row in rows)
    line = list(method.complete([CODE[:30]], num_beams=1, max_new_tokens=9, line=True))
    assert "\n" not in line[0]["text"]
    summary = next(iter(method.summarise([CODE], num_beams=2, max_new_tokens=4)))["text"]
    assert "<mask0>" not in summary
    assert method.generate_texts([CODE], max_new_tokens=4, num_beams=2) == [summary]
    filled = next(iter(method.fill(["def <mask0>(a):\n    return a"], num_beams=2)))["texts"]
    assert len(filled) == 2


def test_a_mask_takes_the_space_before_it(method):
    tokens = method.tokens
    mask, ids_of = tokens.masks[0], tokens.ids_of
    found = tokens.ids_with_masks("def <mask0>(a):\n    return  <mask0> + <mask1>\n    <mask0>")
    assert found == [
        *ids_of("def"), mask, *ids_of("(a):\n    return "), mask, *ids_of(" +"), tokens.masks[1],
        *ids_of("\n   "), mask,
    ]  # fmt: skip
    # as in training, where a mask stands in the place of whole tokens
    whole = ids_of("def work(a):")
    begin, end = len(ids_of("def")), len(whole) - len(ids_of("(a):"))
    assert tokens.ids_with_masks("def <mask0>(a):") == [*whole[:begin], mask, *whole[end:]]
    assert tokens.ids_with_masks("no mask here ") == ids_of("no mask here ")


def test_the_first_mask_is_no_part_of_an_answer(method, monkeypatch):
    plain = "<mask0> name"
    assert method.tokens.ids_of(plain) != method.tokens.ids_with_masks(plain)  # as text
    answer = method.tokens.ids_of(plain)
    monkeypatch.setattr(
        abilities, "generate", lambda network, prompts, *rest, **how: [[answer]] * len(prompts)
    )
    assert next(iter(method.fill(["def <mask0>(a): a"])))["text"] == "name"
    assert next(iter(method.summarise(["def f(a): a"])))["text"] == "name"


def test_what_cannot_be_done_is_said(method):
    with pytest.raises(UserError, match="no <mask0>"):
        list(method.fill(["def f(): pass"]))
    with pytest.raises(UserError, match="no texts"):
        method.encode([])
    with pytest.raises(UserError, match="max_new_tokens is from 1 to 92"):
        list(method.complete(["x"], max_new_tokens=96))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_length": 10}, "max_length is at least"),
        ({"max_length": 97}, "allow 96"),
        ({"comments": False}, "cross_generation"),
        ({"pair_ratio": 0.0}, "pair_ratio"),
        ({"vocab_size": 300}, "set vocab_size to"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(UserError, match=words):
        make(**changes)


def test_variants_train_on_what_they_say(items):
    none = make(ast="none")
    assert not none.tokens.marks
    dfs = make(ast="dfs")
    ids = [place for item in dfs.items(FRAGMENTS) for place in item.code.tolist()]
    used = {token for token in text(dfs, ids) if "::" in token}
    assert used
    assert all(token.endswith("::left>") for token in used)
    quiet = make(comments=False, cross_generation=False)
    assert not any(len(item.comment) for item in quiet.items(FRAGMENTS) if len(item.code))

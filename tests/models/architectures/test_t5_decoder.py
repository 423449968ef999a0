"""A decoder of T5's blocks: parity with T5's own decoder, cache, checkpoints."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from pretrial.models.architectures.t5_decoder import T5Decoder, new_t5_decoder

SIZES = {"width": 32, "num_layers": 2, "num_heads": 4, "feed_forward": 48, "head_size": 8}


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return new_t5_decoder(60, "causal_decoder", **SIZES).eval()


@torch.no_grad()
def test_it_is_t5s_decoder_whose_cross_attention_adds_nothing(decoder):
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    theirs = T5ForConditionalGeneration(
        T5Config(vocab_size=60, feed_forward_proj="gated-gelu", decoder_start_token_id=0, **sizes)
    ).eval()
    for block in theirs.decoder.block:  # transformers' T5 cannot do without it
        block.layer[1].EncDecAttention.o.weight.zero_()
    own = {
        name.replace("layer.2", "layer.1"): value
        for name, value in theirs.decoder.state_dict().items()
        if ".layer.1." not in name
    }
    decoder.model.load_state_dict(own)
    assert theirs.config.scale_decoder_outputs
    ids = torch.randint(2, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    wanted = theirs(input_ids=ids, decoder_input_ids=ids).logits
    torch.testing.assert_close(decoder(ids).logits, wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_causal_without_a_mask_and_the_same_from_a_cache(decoder):
    ids = torch.randint(2, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    whole = decoder(ids).logits
    other = ids.clone()
    other[:, 5] = (other[:, 5] + 1) % 60
    torch.testing.assert_close(decoder(other).logits[:, :5], whole[:, :5])
    first = decoder(ids[:, :4], use_cache=True)
    rest = decoder(ids[:, 4:], past_key_values=first.past_key_values, use_cache=True)
    torch.testing.assert_close(rest.logits, whole[:, 4:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        decoder(ids, logits_to_keep=1).logits, whole[:, -1:], rtol=1e-5, atol=1e-5
    )


@torch.no_grad()
def test_embeddings_are_tied_and_come_back(decoder, tmp_path):
    assert decoder.lm_head.weight is decoder.model.embed_tokens.weight
    decoder.save_pretrained(tmp_path)
    again, report = T5Decoder.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert again.lm_head.weight is again.model.embed_tokens.weight
    ids = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(again.eval()(ids).logits, decoder(ids).logits, rtol=1e-5, atol=1e-5)
    assert again.config.attention_pattern == "causal"
    ids = torch.randint(2, 60, (1, 4), generator=torch.Generator().manual_seed(1))
    written = decoder.generate(ids, max_new_tokens=3, do_sample=False, eos_token_id=None)
    assert written.shape == (1, 7)

"""A BART from scratch; `models.architectures.seq2seq` has what it shares with its like."""

from __future__ import annotations

from transformers import BartConfig, BartForConditionalGeneration


def new_bart(
    vocab_size: int,
    *,
    width: int,
    num_layers: int,
    num_heads: int,
    feed_forward: int,
    num_positions: int,
    dropout_prob: float = 0.1,
    init_std: float = 0.02,
    pad_id: int = 1,
    bos_id: int = 0,
    eos_id: int = 2,
) -> BartForConditionalGeneration:
    """An untrained BART with tied embeddings, as many layers in the decoder as in the encoder.

    Decoding starts from the end token, as in the released checkpoints. Their `init_std` of 0.02 is
    for a width of 1,024: narrow models want more, or what differs between texts drowns in their
    encoders.
    """
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=vocab_size,
            d_model=width,
            encoder_layers=num_layers,
            decoder_layers=num_layers,
            encoder_attention_heads=num_heads,
            decoder_attention_heads=num_heads,
            encoder_ffn_dim=feed_forward,
            decoder_ffn_dim=feed_forward,
            max_position_embeddings=num_positions,
            dropout=dropout_prob,
            attention_dropout=dropout_prob,
            init_std=init_std,
            pad_token_id=pad_id,
            bos_token_id=bos_id,
            eos_token_id=eos_id,
            decoder_start_token_id=eos_id,
            forced_eos_token_id=None,
        )
    )

"""The networks of CodeT5+: a `t5` with heads, or a small encoder beside a `frozen` decoder, which
reads it by `cross_attention`; `released` loads the public ones of that kind.
"""

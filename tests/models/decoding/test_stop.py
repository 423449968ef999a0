"""Stop texts, found while sampling as they are found in the whole text."""

import pytest

from pretrial.models.decoding.stop import PYTHON_STOPS, StopTexts


class Pieces:
    """A tokenizer whose tokens are positions in a list of texts."""

    def __init__(self, *pieces):
        self.pieces = pieces

    def decode(self, ids):
        return "".join(self.pieces[token] for token in ids)


@pytest.mark.parametrize(
    "pieces",
    [
        ["    return x", "\n", "\n", "de", "f", " g", "():"],
        ["\n\ndef", " f"],
        list("    if x:\n        y\n#"),
        ["\n", "    ", "print", "(x)\n", "    # no", "\nx = 1\n", "cla", "ssy", " text"],
        ["    pass\n", "x", "\n", "#"],
    ],
)
def test_stops_at_the_token_that_completes_a_stop_text(pieces):
    stop = StopTexts(Pieces(*pieces))
    for end in range(1, len(pieces) + 1):
        text = "".join(pieces[:end])
        assert stop(range(end)) == any(word in text for word in PYTHON_STOPS)
        if stop(range(end)):
            break


def test_cut_keeps_what_comes_before_the_first_stop():
    stop = StopTexts(Pieces())
    assert stop.cut("    return 1\n\ndef f():\n#") == "    return 1\n"
    assert stop.cut("    return 1\n") == "    return 1\n"

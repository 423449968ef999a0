"""What chains of thought end in, and the vote on it."""

from pretrial.evaluate.voting import answer_in, vote


def test_an_answer_is_what_the_marker_announces_or_the_last_number():
    assert answer_in("2 and 3 make 5. The answer is 5. Good.", "The answer is") == "5"
    assert answer_in("so 7 then 12", "The answer is") == "12"
    assert answer_in(" none ", "The answer is") == "none"


def test_the_most_frequent_answer_wins_and_empty_ones_do_not_count():
    assert vote(["4", "5", "", "5"]) == ("5", 0.5)
    assert vote(["", ""]) == ("", 0.0)

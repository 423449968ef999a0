"""One small program in every language, for the tests of views."""

PROGRAMS = {
    "python": '''import helper

def total(values, limit):
    """Adds up."""
    result = 0
    count = 1
    for value in values:
        result = result + value * count  # grows
    helper.log("a b", result)
    return check(result, limit)
''',
    "java": """/** Adds up. */
int total(int[] values, int limit) {
    int result = 0;
    int count = 1;
    for (int value : values) {
        result = result + value * count;  // grows
    }
    helper.log("a b", result);
    return check(result, limit);
}
""",
    "javascript": """// Adds up.
function total(values, limit) {
    let result = 0;
    let count = 1;
    for (const value of values) {
        result = result + value * count;  // grows
    }
    helper.log("a b", result);
    return check(result, limit);
}
""",
    "go": """package sums

// Adds up.
func total(values []int, limit int) int {
    result := 0
    count := 1
    for _, value := range values {
        result = result + value * count  // grows
    }
    helper.log("a b", result)
    return check(result, limit)
}
""",
    "php": """<?php
/** Adds up. */
function total($values, $limit) {
    $result = 0;
    $count = 1;
    foreach ($values as $value) {
        $result = $result + $value * $count;  # grows
    }
    helper::log("a b", $result);
    return check($result, $limit);
}
""",
    "ruby": """# Adds up.
def total(values, limit)
  result = 0
  count = 1
  values.each do |value|
    result = result + value * count  # grows
  end
  helper.log("a b", result)
  check(result, limit)
end
""",
    "c": """/* Adds up. */
int total(int *values, int limit) {
    int result = 0;
    int count = 1;
    for (int value = 0; value < limit; value++) {
        result = result + value * count;  // grows
    }
    helper.log("a b", result);
    return check(result, limit);
}
""",
    "csharp": """/// Adds up.
int total(int[] values, int limit) {
    int result = 0;
    int count = 1;
    foreach (int value in values) {
        result = result + value * count;  // grows
    }
    helper.log("a b", result);
    return check(result, limit);
}
""",
}

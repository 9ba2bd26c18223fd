"""Random input at every door. Few examples in the suite, thousands with `make fuzz`."""

import hypothesis


def examples(in_the_suite):
    """Returns how many random inputs a test looks at: so many, or as many as ``--fuzz`` asks for."""
    asked = hypothesis.settings.default
    return in_the_suite if asked.derandomize else asked.max_examples

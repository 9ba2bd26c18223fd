"""How the objects that users hold show themselves: in one line as text, in a short list in a notebook."""

import html


def printable(text: str) -> str:
    """Returns a text with escapes in place of what a terminal would obey: control characters, and changed directions.

    Names in a folder from somebody else may have them, or bytes that are no text. Ends of lines stay.
    """
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )


class Shown:
    """A class that lists its facts once, for its ``repr`` and for notebooks.

    A dataclass needs ``repr=False``, since it would write its own.
    """

    def _facts(self) -> list[str]:
        """Returns a few short texts: sizes, names and the most important number, but no arrays."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._facts())})"

    def _repr_html_(self) -> str:
        """Returns the same facts, one a line, for a notebook."""
        lines = "".join(f"<li>{html.escape(fact)}</li>" for fact in self._facts())
        return f"<b>{type(self).__name__}</b><ul>{lines}</ul>"

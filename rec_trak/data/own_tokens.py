"""Texts split by the user's own function, which the YAML names. Not here: vocabularies, our own tokenisers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rec_trak.config.code import imported
from rec_trak.errors import ConfigError, told
from rec_trak.words import QUOTE, plain, quoted

LARGEST = 2**31 - 1


def is_own(tokeniser: str) -> bool:
    """Whether this is a name to import, `package.module:function`, which no settings file can say."""
    return ":" in tokeniser


def own_tokens(texts: Iterable[tuple[str, str]], tokeniser: str) -> Iterator[list[str] | list[int]]:
    """What the function `tokeniser` makes of each text: words, or the model's own numbers of them.

    Args:
        texts: article ids and texts; the ids are for messages.
        tokeniser: `package.module:function`; text -> a list of words, to be looked up in the vocabulary as they are, or
            of whole numbers, which are the model's ids (0 is padding).

    Raises:
        ConfigError: it cannot be imported, fails on a text, or gives something else.
    """
    function, first = imported(tokeniser, "tokeniser", "config"), None
    for article, text in texts:
        where = f"`tokeniser`: {tokeniser} on article `{plain(article, QUOTE)}`"
        try:
            tokens = function(text)
            tokens = [token.item() if hasattr(token, "item") else token for token in tokens]  # numpy's and torch's too
        except Exception as error:  # whatever a user's code raises
            raise ConfigError(
                f"{where}: no list of words. Got {told(error)} for {quoted(text)}, expected words or whole numbers. "
                "Mend the function."
            ) from error
        kinds = {type(token) for token in tokens}
        first = first or next(iter(kinds), None)
        number = next((token for token in tokens if type(token) is int and not 0 <= token <= LARGEST), None)
        if kinds - {first} or not kinds <= {str, int} or number is not None:
            got = quoted(tokens[:5]) if number is None else number
            raise ConfigError(
                f"{where}: no list of words. Got {got}, expected all words, or all whole numbers from 0 to {LARGEST}, "
                "the same for all articles. Mend the function."
            )
        yield tokens

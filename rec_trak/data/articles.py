"""The `Articles` table, its readers, vocabularies and tokenisers. Not here: who clicked what."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from rec_trak.config.model import TextConfig
from rec_trak.data.further import Further
from rec_trak.data.own_tokens import is_own, own_tokens
from rec_trak.data.pretrained import token_ids
from rec_trak.data.tables import DIGITS, FLAGS, read_csv, read_lines
from rec_trak.errors import ConfigError, DataError, RecTrakWarning
from rec_trak.room import require_memory
from rec_trak.words import QUOTE, outline, plain, quoted

MIND_COLUMNS = ("id", "category", "subcategory", "title", "abstract", "url", "title entities", "abstract entities")
HEADINGS = ("category", "subcategory", "title", "abstract", "url")
SMALL = 2**26  # word ids that need no look at the memory
WORDS_AND_SIGNS = re.compile(r"\w+|[.,!?;|]")


@dataclass(frozen=True)
class Articles:
    """A articles in file order; '' where the file says nothing.

    Attributes:
        ids: A strings, all different.
        titles, bodies, categories, subcategories: A strings each.
        is_fake: (A,) int8: 1 fake, 0 real, -1 where nobody said.
        source: the file they were read from.
        tokens: `title` and `body` -> A sequences of words, where the data say how their texts were split: '' stands
            at places without a word that the data know.
        blanks: how many of them a log names and its table lacks, so that nothing is known of them.
        translated: whether titles and bodies are another language's than those of the log's own table (xMIND).
        further: arrays by article id, for a model of the user's own; None for none.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    bodies: tuple[str, ...]
    categories: tuple[str, ...]
    subcategories: tuple[str, ...]
    is_fake: np.ndarray
    source: str
    tokens: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    blanks: int = 0
    translated: bool = False
    further: Further | None = None

    __repr__ = outline

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def position(self) -> dict[str, int]:
        """Article id -> its place in the table."""
        return {article_id: i for i, article_id in enumerate(self.ids)}


def read_news_items(path: str | Path) -> Articles:
    """The articles of a pairwise tree: item_id, title, text, and where given is_fake, category, subcategory.

    Raises:
        DataError: what `read_csv` refuses; an empty or repeated id; is_fake other than 0, 1 or nothing.
    """
    table = read_csv(path, ("item_id", "title", "text"))
    said = [-1 if not value else FLAGS.get(value.strip().lower(), -2) for value in table.values.get("is_fake", [""])]
    is_fake = np.array(said, dtype=np.int8)[table.codes.get("is_fake", np.zeros(len(table.first), dtype=np.int64))]
    wrong = np.flatnonzero(is_fake == -2)
    if len(wrong):
        got = table.column("is_fake")[wrong[0]]
        where = f"{path}, line {table.first[wrong[0]]}"
        raise DataError(
            f"{where}: `is_fake` is wrong in {len(wrong)} line(s). Got {quoted(got)}, expected 0, 1 or nothing."
        )
    names = ("item_id", "title", "text", "category", "subcategory")
    return sound_articles(path, [table.column(name) for name in names], is_fake, table.first)


def read_mind_news(path: str | Path) -> Articles:
    """The articles of MIND's news.tsv (8 tab-separated columns, no header, quoting off); bodies are the abstracts.

    Raises:
        DataError: what `read_lines` refuses; an empty file, a line of other than 8 columns, an empty or repeated id.
    """
    records, numbers = [], []
    for number, line in enumerate(read_lines(path, newline="\n"), 1):
        fields = line.rstrip("\r\n").split("\t")
        if fields == [""]:
            continue
        if number == 1 and len(set(HEADINGS).intersection(name.strip().lower() for name in fields)) >= 3:
            warnings.warn(
                f"{path}, line 1: a header line is left out. Got {', '.join(fields[:4])}, expected MIND's file, which "
                "has none.",
                RecTrakWarning,
                stacklevel=2,
            )
            continue
        if len(fields) != len(MIND_COLUMNS):
            expected = f"expected {len(MIND_COLUMNS)} ({', '.join(MIND_COLUMNS)})"
            raise DataError(f"{path}, line {number}: Got {len(fields)} columns, {expected}. Give MIND's news.tsv.")
        records.append(fields[:5])
        numbers.append(number)
    if not records:
        raise DataError(f"{path}: the file is empty. Give MIND's news.tsv.")
    ids, categories, subcategories, titles, abstracts = (tuple(column) for column in zip(*records, strict=True))
    nobody_said = np.full(len(ids), -1, dtype=np.int8)
    return sound_articles(path, [ids, titles, abstracts, categories, subcategories], nobody_said, np.array(numbers))


def sound_articles(
    path: str | Path, columns: list[tuple[str, ...]], is_fake: np.ndarray, lines: np.ndarray
) -> Articles:
    """The table of ids, titles, bodies, categories and subcategories, once its ids are sound."""
    ids = columns[0]
    empty = [int(line) for line, article_id in zip(lines, ids, strict=True) if not article_id.strip()]
    if empty:
        raise DataError(f"{path}, line {empty[0]}: the article id is empty ({len(empty)} such line(s)). Give every id.")
    repeated = [article_id for article_id, count in Counter(ids).items() if count > 1]
    if repeated:
        named = ", ".join(f"`{plain(article_id, QUOTE)}`" for article_id in repeated[:3]) + (
            ", …" if len(repeated) > 3 else ""
        )
        raise DataError(f"{path}: {len(repeated)} article id(s) stand more than once: {named}. Keep one line of each.")
    return Articles(*columns, is_fake=is_fake, source=str(path))


def tokenise(text: str, tokeniser: str) -> list[str]:
    """The lower-case tokens of a text: `regex` (words and . , ! ? ; | apart) or `whitespace` (split at blanks).

    Raises:
        ConfigError: the tokeniser is not known.
    """
    if tokeniser == "regex":
        return WORDS_AND_SIGNS.findall(text.lower())
    if tokeniser == "whitespace":
        return text.lower().split()
    raise ConfigError(f"tokenise: unknown tokeniser. Got {quoted(tokeniser)}, expected regex or whitespace.")


def build_vocabulary(articles: Articles, tokeniser: str, views: Sequence[str], min_count: int = 1) -> tuple[str, ...]:
    """The words of the articles' titles and bodies (those in `views`), most frequent first, ties by spelling.

    Args:
        min_count: words that occur less often are left out.

    Raises:
        ConfigError: the tokeniser is not known.
    """
    counts: Counter[str] = Counter()
    for view in views:
        for text in {"title": articles.titles, "body": articles.bodies}.get(view, ()):
            counts.update(tokenise(text, tokeniser))
    kept = [(-count, word) for word, count in counts.items() if count >= min_count]
    return tuple(word for _, word in sorted(kept))


def read_word_vectors(path: str | Path, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors for `words` from GloVe text (word, then numbers, blanks between); other lines are not kept.

    A first line of two whole numbers (word2vec's header) is skipped; of a repeated word the first line counts.

    Returns:
        (W + 2, dim) float32, row i + 2 for word i, zeros for padding (0), unknown words (1) and words not found;
        (W,) bool, the words found.

    Raises:
        DataError: the file is missing or empty, a needed line is malformed or not finite, no word is found at all.
    """
    places = {word.encode(): i for i, word in enumerate(words)}
    found, vectors, dim = np.zeros(len(words), dtype=bool), [], 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    fields = line.split()
                    header = len(fields) == 2 and all(field.isdigit() and len(field) < DIGITS for field in fields)
                    dim = int(fields[1]) if header else len(fields) - 1
                    if dim < 1 or header:
                        continue
                i = places.get(line[: line.find(b" ")])
                if i is not None and not found[i]:
                    vector = _vector(line.split()[1:], dim, f"{path}, line {number}")
                    if vector is not None:
                        vectors.append((i, vector))
                        found[i] = True
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Give the path of word vectors in GloVe's text format.") from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). Give word vectors in GloVe's text format."
        ) from None
    if dim < 1 or (places and not vectors):
        got = f"none of {len(places)} words" if dim > 0 else "no numbers in its first line"
        raise DataError(f"{path}: not word vectors for these articles. Got {got}. Give lower-case words in GloVe text.")
    matrix = np.zeros((len(words) + 2, dim), dtype=np.float32)
    for i, vector in vectors:
        matrix[i + 2] = vector
    return matrix, found


def _vector(fields: list[bytes], dim: int, where: str) -> np.ndarray | None:
    """The numbers of one line; None where the word itself holds blanks, as a few of GloVe's do."""
    if len(fields) > dim and _numbers(fields[:-dim]) is None:
        return None
    vector = _numbers(fields)
    if len(fields) != dim or vector is None or not np.isfinite(vector).all():
        raise DataError(f"{where}: malformed vector. Got {len(fields)} fields, expected {dim} finite numbers.")
    return vector


def _numbers(fields: list[bytes]) -> np.ndarray | None:
    try:
        return np.array([float(field) for field in fields], dtype=np.float32)
    except ValueError:
        return None


def encode_articles(articles: Articles, text: TextConfig, views: Sequence[str]) -> dict[str, np.ndarray]:
    """The articles as integers, view by view.

    Returns:
        `title` (A, title_length) and `body` (A, body_length) int32 word or token ids, padded with 0 on the right;
        `category` and `subcategory` (A,) int32, 0 for none or unknown.

    Raises:
        RoomError: the ids do not fit into memory.
        ConfigError: a view or the tokeniser is not known, the language model's cannot be read, or the data do not say
            how a text was split where the tokeniser is `parsed`.
    """
    texts = {"title": (articles.titles, text.title_length), "body": (articles.bodies, text.body_length)}
    names = {
        "category": (articles.categories, text.categories),
        "subcategory": (articles.subcategories, text.subcategories),
    }
    word_ids = {word: i + 2 for i, word in enumerate(text.words)}
    other = 1 if text.unknown == "word" else 0
    encoded = {}
    for view in views:
        if view in texts:
            strings, length = texts[view]
            _require_room(view, len(articles), length)
            if text.tokeniser == "pretrained":
                encoded[view] = token_ids(strings, text.pretrained, length)
                continue
            encoded[view] = np.zeros((len(articles), length), dtype=np.int32)
            for i, tokens in enumerate(_tokens(articles, view, strings, text)):
                kept = tokens[:length]
                numbers = kept and type(kept[0]) is int  # a function of the user's own may number them itself
                encoded[view][i, : len(kept)] = kept if numbers else [word_ids.get(token, other) for token in kept]
        elif view in names:
            said, known = names[view]
            numbers = {name: i + 1 for i, name in enumerate(known)}
            encoded[view] = np.array([numbers.get(name, 0) for name in said], dtype=np.int32)
        else:
            raise ConfigError(
                f"views: unknown view. Got {quoted(view)}, expected title, body, category or subcategory."
            )
    return encoded


def _require_room(view: str, count: int, length: int) -> None:
    if count * length > SMALL:
        what = f"`{view}_length`: {length:,} words of each of {count:,} articles"
        require_memory(4 * count * length, what, f"Lower `{view}_length`, or give the one that the model has.")


def _tokens(articles: Articles, view: str, strings: Sequence[str], text: TextConfig) -> Iterable[Sequence[str | int]]:
    if is_own(text.tokeniser):
        return _looked_up(own_tokens(zip(articles.ids, strings, strict=True), text.tokeniser), text)
    if text.tokeniser != "parsed":
        return (tokenise(string, text.tokeniser) for string in strings)
    if view not in articles.tokens:
        raise ConfigError(
            f"{articles.source}: the model's words were split by its own preprocessing, which these data lack. Got no "
            f"tokens of view `{view}`, expected them. Set `data_format: parsed` and give that preprocessing's folder."
        )
    return articles.tokens[view]


def _looked_up(texts: Iterable[list[str] | list[int]], text: TextConfig) -> Iterable[list[str] | list[int]]:
    """The tokens as they are, where there is a vocabulary for them if they need one."""
    for tokens in texts:
        if tokens and isinstance(tokens[0], str) and not text.words:
            raise ConfigError(
                f"`tokeniser`: {text.tokeniser} gives words, and the model has none to look them up. Got "
                f"{quoted(tokens[:3])} and no `text.words`, expected the model's vocabulary. Give `words` in "
                "`model_config`, or let the function give the words' numbers."
            )
        yield tokens

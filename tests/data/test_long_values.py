"""What an error quotes of a file is short and harmless, whatever a cell holds."""

import numpy as np
import pytest

from rec_trak.data.articles import Articles, read_mind_news, read_news_items, read_word_vectors
from rec_trak.data.mind import read_behavior_lines
from rec_trak.data.numbered import read_numbers
from rec_trak.data.pairwise import read_pairwise_lines
from rec_trak.data.parsed import read_parsed
from rec_trak.data.targets import read_explained
from rec_trak.errors import DataError

HUGE = "\x1b[31m" + "x" * 1_000_000
COLUMNS = ("user_id", "history_titles", "history_ids", "candidate_id", "label", "candidate_is_fake")
LINE = dict(zip(COLUMNS, ("u", "['a']", "['1']", "1", "1", "0"), strict=True))
ARTICLES = Articles(("1", "2"), ("a", "b"), ("", ""), ("", ""), ("", ""), np.zeros(2, dtype=np.int8), "news.csv")


def table(**changes):
    """A pairwise CSV of one line."""
    cells = [str(cell).replace('"', "'") for cell in (LINE | changes).values()]
    return f"{','.join(LINE | changes)}\n" + ",".join(f'"{cell}"' for cell in cells) + "\n"


def pairwise(path):
    read_pairwise_lines(path, ARTICLES)


def behaviors(path):
    list(read_behavior_lines(path, ARTICLES))


def numbers(path):
    read_numbers(path, "word", "int")


def explained(path):
    read_explained(path, ARTICLES)


def vectors(path):
    read_word_vectors(path, ["a"])


TOLD = "user_id,history_ids,candidate_ids,explained_id\n"
CASES = {
    "a label": (pairwise, table(label=HUGE)),
    "a flag": (pairwise, table(candidate_is_fake=HUGE)),
    "a candidate": (pairwise, table(candidate_id=HUGE)),
    "a history": (pairwise, table(history_titles=HUGE)),
    "an id in a history": (pairwise, table(history_ids=f"['{HUGE}']")),
    "a title in a history": (pairwise, table(history_titles=f"['{HUGE}', 'b']", history_ids="['1']")),
    "a heading": (pairwise, f"user_id,{HUGE}\nu,1\n"),
    "a heading twice": (pairwise, f"{','.join(COLUMNS)},{HUGE},{HUGE}\n" + "," * 7 + "\n"),
    "a flag of an article": (read_news_items, f"item_id,title,text,is_fake\n1,a,b,{HUGE}\n"),
    "an article twice": (read_news_items, f"item_id,title,text\n{HUGE},a,b\n{HUGE},a,b\n"),
    "an article of MIND twice": (read_mind_news, f"{HUGE}{chr(9) * 7}\n" * 2),
    "a candidate of MIND": (behaviors, f"1\tu\tt\t1\t{HUGE}-1\n"),
    "a candidate without a label": (behaviors, f"1\tu\tt\t1\t{HUGE}\n"),
    "a blank user": (behaviors, f"1\t{' ' * 1_000_000}\tt\t1\t1-1 2-0\n"),
    "a number": (numbers, f"word\tint\na\t{HUGE}\n"),
    "many digits": (numbers, f"word\tint\na\t{'9' * 5000}\n"),
    "an explained article": (explained, f"{TOLD}u,1,1 2,{HUGE}\n"),
    "explained candidates": (explained, f"{TOLD}u,1,[{HUGE},2\n"),
    "digits before word vectors": (vectors, f"{'9' * 5000} {'9' * 5000}\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_quoted_is_short(case, tmp_path):
    """Megabytes in a cell are not megabytes in a message, and the message still says where and what to do."""
    read, text = CASES[case]
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.csv.*\.$") as error:
        read(tmp_path / "a.csv")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 2000


def test_a_parsed_cell_is_quoted_in_short(tmp_path):
    """As in tables of our own."""
    (tmp_path / "news.tsv").write_text("N1\tc\ts\tt\ta\tu\t\t\n", encoding="utf-8")
    cells = f"id\tcategory\tsubcategory\ttitle\tabstract\nN1\t1\t1\t{HUGE}\t[]\n"
    (tmp_path / "news_parsed.tsv").write_text(cells, encoding="utf-8")
    (tmp_path / "word2int.tsv").write_text("word\tint\na\t1\n", encoding="utf-8")
    (tmp_path / "category2int.tsv").write_text("category\tint\nc\t1\n", encoding="utf-8")
    with pytest.raises(DataError, match="`title` does not hold numbers of known names") as error:
        read_parsed(tmp_path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 2000

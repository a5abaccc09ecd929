"""A data tree in MIND's format. Not here: tests."""


def write_mind(folder):
    folder.mkdir(parents=True)
    news = [f"n{i}\tnews\tworld\tvote number {i}\tbody {i}\turl\t[]\t[]" for i in range(8)]
    (folder / "news.tsv").write_text("\n".join(news) + "\n", encoding="utf-8")
    lines = [f"{i}\tu{i % 3}\t11/1{i % 9}/2019 2:01:00 AM\tn1 n2\tn3-1 n4-0 n5-0 n6-0 n7-0 n0-0" for i in range(12)]
    (folder / "behaviors.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder

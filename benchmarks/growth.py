"""What a row costs as the log grows: articles taken once each against pair by pair, milliseconds a row, and ratios.

    python benchmarks/growth.py                       # the table of docs/performance.md
    python benchmarks/growth.py --curve               # time a row against N at a fixed number of articles
    python benchmarks/growth.py --of nrms-512 --rows 4000
    python benchmarks/growth.py --of nrms-512 --traker    # traker, all parameters, beside both

Both paths are processes of their own, alive at once; rounds alternate, medians count; the ratio is that of the clock's
times, *processor* that of the processor's, for a machine that is busy. The article path takes the whole log each round,
the pair path a sample of its rows, since its cost a row does not depend on N. Logs are MIND-like: several impressions
of a user share a history, articles and words follow Zipf's law, and *rows per article* says how often articles recur:
4.6 as in MIND-small, 34 as in MIND-large.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

CASES = {  # name -> settings; reach and aim at 4.6 and at 34 rows an article
    "nrms-512": ({"model": "nrms", "proj_dim": 512}, {4.6: (0.50, 0.30), 34: (0.25, 0.12)}),
    "nrms-2048": ({"model": "nrms", "proj_dim": 2048}, {4.6: (0.60, 0.40), 34: (0.35, 0.20)}),
    "naml-512": ({"model": "naml", "proj_dim": 512}, {4.6: (0.50, 0.25), 34: (0.25, 0.10)}),
    "lstur-512": ({"model": "lstur", "proj_dim": 512}, {4.6: (0.50, 0.25), 34: (0.25, 0.10)}),
    "minilm-512": ({"model": "minilm", "proj_dim": 512, "batch": 8}, {4.6: (0.60, 0.40), 34: (0.35, 0.20)}),
    "nothing-recurs": ({"model": "nrms", "proj_dim": 512, "gradient": "auto"}, {0.05: (1.05, 1.05)}),
}
BASE = {"batch": 32, "rows": 10_000, "sample": 128, "memory": 2.0, "threads": 2, "gradient": "articles"}
IMPRESSIONS = 4.7  # of a user, on average
TRAKER_ROWS = 32  # a batch, a second for each row


def make_log(s: dict):
    """Rows of users whose impressions share a history, over `articles` articles by Zipf's law."""
    import dataclasses

    import numpy as np
    from workload import make_inputs

    from rec_trak.data.inputs import Inputs
    from rec_trak.data.ragged import Ragged

    rows, articles = s["rows"], max(20, round(s["rows"] / s["per_article"]))
    users = max(1, round(rows / IMPRESSIONS))
    inputs = make_inputs(users, articles=articles)
    rng = np.random.default_rng(1)
    owner = np.sort(np.concatenate([np.arange(users), rng.integers(users, size=rows - users)])[:rows])
    popular = 1 / np.arange(1, articles + 1) ** 0.9
    shown = rng.choice(articles, size=(rows, 5), p=popular / popular.sum())
    impressions = dataclasses.replace(
        inputs.impressions.subset(owner),
        candidates=Ragged.of(shown.tolist()),
        labels=Ragged.of([[1, 0, 0, 0, 0]] * rows),
        sources=tuple(map(str, range(rows))),
    )
    return Inputs(impressions, inputs.views, inputs.users[owner])


def make_world(s: dict):
    """The log and the model."""
    inputs = make_log(s)
    if s["model"] != "minilm":
        from workload import make_model

        return inputs, make_model(s["model"])
    from bert import make_titles, make_transformer

    from rec_trak.data.inputs import Inputs

    return Inputs(
        inputs.impressions, {"title": make_titles(len(inputs.views["title"]))}, inputs.users
    ), make_transformer()


def pairs(s: dict):
    """Pair by pair: batches made, gradients taken, K numbers a row out, of a sample of the rows."""
    import numpy as np

    from rec_trak.clicks import ClickOutput
    from rec_trak.gradients.computers import FactoredComputer, make_batch, select_parameters
    from rec_trak.sketch.projection import SketchProjector

    inputs, model = make_world(s)
    computer = FactoredComputer(model, ClickOutput("softmax"), grad_wrt=select_parameters(model, None))
    projector = SketchProjector(0, s["proj_dim"], 0)
    order = np.argsort(inputs.impressions.history.lengths, kind="stable")
    # Whole batches of like history length, spread over all lengths, as a run makes them.
    starts = np.linspace(0, len(order) - s["batch"], max(1, s["sample"] // s["batch"])).astype(int)
    batches = [order[start : start + s["batch"]] for start in starts]

    def run() -> None:
        for rows in batches:
            batch = make_batch("factored", model, inputs, rows, "cpu")
            projector.project(computer.compute_per_sample_grad(batch), 0)
            computer.compute_loss_grad(batch)

    return run, sum(map(len, batches)), {}


def articles(s: dict):
    """Articles once each, as the plan of a run has it: the whole log."""
    import numpy as np

    from rec_trak.attribution.articles import plan_articles
    from rec_trak.clicks import ClickOutput
    from rec_trak.data.spans import make_span
    from rec_trak.gradients.articles import ArticleComputer
    from rec_trak.gradients.computers import select_parameters
    from rec_trak.sketch.projectors import make_projector

    inputs, model = make_world(s)
    names = select_parameters(model, None)
    job = SimpleNamespace(
        gradient=s.get("gradient", "articles"), projector="sketch", precision="float32", model=model,
        batch_size=s["batch"], device="cpu",
        memory=s["memory"], proj_dim=s["proj_dim"], seed=0, grad_wrt=names,
        parameter_count=sum(model.get_parameter(name).numel() for name in names),
    )  # fmt: skip
    plan = plan_articles(job, inputs, "softmax")
    if isinstance(plan, str):  # what a run would do then
        return *pairs(s)[:2], {"least": 0, "share": 0.0, "promised": 1.0, "span": s["batch"]}
    computer = ArticleComputer(model, ClickOutput("softmax"), grad_wrt=names, structure=plan.structure)
    projector = make_projector("sketch", job.parameter_count, s["proj_dim"], 0, "cpu")

    def run() -> None:
        for start in range(0, len(inputs), plan.rows):
            rows = np.arange(start, min(start + plan.rows, len(inputs)))
            span = make_span(inputs, rows, plan.least, s["batch"], "cpu", alike=plan.alike)
            projector.project(computer.compute_per_sample_grad(span), 0)
            computer.compute_loss_grad(span)

    promised = plan.article_seconds / plan.pair_seconds
    return run, len(inputs), {"least": plan.least, "share": plan.share, "promised": promised, "span": plan.rows}


def traker(s: dict):
    """traker 0.3.2 as a user gets it, all parameters, of a few rows: its cost a row does not depend on N."""
    from contenders import traker_all

    sizes = {"rows": TRAKER_ROWS, "batch": TRAKER_ROWS, "history": 50, "vocabulary": 20_000}
    return *traker_all({"model": s["model"], "proj_dim": s["proj_dim"]} | sizes), {}


def work(name: str, settings: dict) -> None:
    """One path: a round for each line on stdin, seconds and peak memory on stdout."""
    import torch

    from rec_trak.gradients.memory import keep_heap

    torch.set_num_threads(settings["threads"])
    keep_heap()
    run, rows, told = {"pairs": pairs, "articles": articles, "traker": traker}[name](settings)
    if name != "articles":
        run()  # the first round pays for what a run pays once; the plan of the article path has paid it
    print(json.dumps({"rows": rows} | told), flush=True)
    for _ in sys.stdin:
        begin, started = time.perf_counter(), time.process_time()
        run()
        seconds, processor = time.perf_counter() - begin, time.process_time() - started
        print(json.dumps([seconds, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]), flush=True)


def measure(settings: dict, rounds: int) -> dict:
    """Median milliseconds a row of both paths, their ratio, peaks in MB, and what the plan said."""
    workers = {}
    for name in ("pairs", "articles", *(["traker"] if settings["traker"] else [])):
        command = [sys.executable, __file__, "--worker", name, "--settings", json.dumps(settings)]
        workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        workers[name].first = json.loads(workers[name].stdout.readline())
    found: dict[str, list] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            worker.stdin.write("go\n")
            found[name].append(json.loads(worker.stdout.readline()))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    ms, processor = (
        {n: 1000 * statistics.median(times[i] for times in found[n]) / w.first["rows"] for n, w in workers.items()}
        for i in range(2)
    )
    peak = {f"{n}_mb": max(times[2] for times in found[n]) for n in workers}
    if "traker" in ms:
        print(f"traker {ms['traker']:.1f} ms a row, {ms['traker'] / ms['articles']:.0f} times the articles' path")
    return (
        {"pairs_ms": ms["pairs"], "articles_ms": ms["articles"], "ratio": ms["articles"] / ms["pairs"]}
        | {"processor": processor["articles"] / processor["pairs"]}
        | peak
        | {key: value for key, value in workers["articles"].first.items() if key != "rows"}
    )


def line(name: str, per_article: float, s: dict, f: dict, aims: tuple[float, float]) -> str:
    """A line of the table."""
    return (
        f"| {name} | {per_article:g} | {s['rows']:,} | {f['pairs_ms']:.2f} | {f['articles_ms']:.2f} | {f['ratio']:.3f} "
        f"| {f['processor']:.3f} | {aims[0]:.2f} | {aims[1]:.2f} | {f['least']} | {f['share']:.2f} "
        f"| {f['promised']:.2f} | {f['pairs_mb']:.0f} | {f['articles_mb']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", nargs="*", choices=CASES, default=list(CASES), help="which cases")
    parser.add_argument("--per_article", type=float, help="only this many rows an article")
    parser.add_argument("--rows", type=int, default=BASE["rows"], help="rows of the log")
    parser.add_argument("--sample", type=int, default=BASE["sample"], help="rows of a round of the pair path")
    parser.add_argument("--memory", type=float, default=BASE["memory"], help="GB of a span")
    parser.add_argument("--threads", type=int, default=BASE["threads"], help="threads of each path")
    parser.add_argument("--traker", action="store_true", help="traker beside both, on a few rows")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each path")
    parser.add_argument("--curve", action="store_true", help="N from 500 on at 1,200 articles, NRMS, K = 512")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.settings)
        return
    given = BASE | {key: getattr(args, key) for key in ("rows", "sample", "memory", "threads", "traker")}
    print("| case | rows an article | N | pairs ms | articles ms | ratio | processor | reach | aim | least | share "
          "| promised | pairs MB | articles MB |\n" + "|---" * 14 + "|", flush=True)  # fmt: skip
    if args.curve:
        for rows in (n for n in (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000) if n <= args.rows):
            s = given | CASES["nrms-512"][0] | {"rows": rows, "per_article": rows / 1200}
            print(line("nrms-512", rows / 1200, s, measure(s, args.rounds), (1, 1)), flush=True)
        return
    for name in args.of:
        settings, aims = CASES[name]
        for per_article, wanted in aims.items():
            if args.per_article in (None, per_article):
                s = given | settings | {"per_article": per_article}
                print(line(name, per_article, s, measure(s, args.rounds), wanted), flush=True)


if __name__ == "__main__":
    main()

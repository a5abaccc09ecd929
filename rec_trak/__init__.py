"""rec-trak: which clicks taught a news recommender what it does. Here: the public names, loaded when first used."""

from importlib import import_module

_HOMES = {
    "TRAKScorer": "api",
    "compute_trak_scores": "api",
    "load_model": "api",
    "load_train_data": "api",
    "rank_training_samples": "results.ranking",
    "plot_score_distribution": "results.plots",
    "plot_top_influential_samples": "results.plots",
    "plot_score_comparison": "results.plots",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

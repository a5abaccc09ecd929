"""rec-trak: which clicks taught a news recommender what it does. Here: the public names, loaded when first used."""

import sys
from importlib import import_module
from types import ModuleType

_HOMES = {
    "TRAKScorer": "api",
    "compute_trak_scores": "api",
    "load_model": "api",
    "load_train_data": "api",
    "rank_training_samples": "results.ranking",
    "plot_score_distribution": "results.plots",
    "plot_top_influential_samples": "results.plots",
    "plot_score_comparison": "results.plots",
    "open_run": "tables",
    "influence": "tables",
    "explain": "tables",
    "groups": "tables",
}
__all__ = sorted([*_HOMES, "trust"])


class _Trust(ModuleType):
    """The package `trust`, which is also the function of that name: `rec_trak.trust(run)`."""

    def __call__(self, *args, **keys):
        return import_module(f"{__name__}.tables").trust(*args, **keys)


class _Package(ModuleType):
    def __setattr__(self, name, value):  # how an import binds a package to the one that holds it
        if name == "trust" and type(value) is ModuleType:
            value.__class__ = _Trust
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str):
    if name == "trust":
        return import_module(f"{__name__}.trust")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

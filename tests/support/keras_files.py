"""Weights in the layouts of Keras' files, written by hand with h5py. Not here: what the weights are.

As Keras 2.12, 2.15, 2.21 and 3.15 wrote recommenders' and ebnerd-benchmark's models.
"""

import io
import json
import zipfile

import pytest

NEWS, USER = "layers/time_distributed/layer/layers", "layers/functional/layers"
NESTED = {  # layer as Keras names it -> where it stands in a `.weights.h5`
    "nrms": {
        "embedding": f"{NEWS}/embedding",
        **{kind: f"{NEWS}/{kind}" for kind in ("self_attention", "att_layer2")},
        **{f"{kind}_1": f"{USER}/{kind}" for kind in ("self_attention", "att_layer2")},
    },
    "naml": {
        "embedding": f"{NEWS}/functional/layers/embedding",
        "embedding_1_1": f"{NEWS}/functional_2/layers/embedding",
        "embedding_2": f"{NEWS}/functional_3/layers/embedding",
        "conv1d": f"{NEWS}/functional/layers/conv1d",
        "conv1d_1": f"{NEWS}/functional_1/layers/conv1d",
        "dense": f"{NEWS}/functional_2/layers/dense",
        "dense_1": f"{NEWS}/functional_3/layers/dense",
        "att_layer2": f"{NEWS}/functional/layers/att_layer2",
        "att_layer2_1": f"{NEWS}/functional_1/layers/att_layer2",
        "att_layer2_2": f"{NEWS}/att_layer2",
        "att_layer2_3": f"{USER}/att_layer2",
    },
    "lstur": {
        **{layer: f"{NEWS}/{layer}" for layer in ("embedding", "conv1d", "att_layer2")},
        **{"embedding_1": f"{USER}/embedding", "gru/gru_cell": f"{USER}/gru/cell", "dense": f"{USER}/dense"},
    },
}


def grouped(held, architecture, inside=""):
    """Path -> array as `save_weights("x.h5")` stores them, a shared layer in both groups."""
    news = {layer for layer, place in NESTED[architecture].items() if place.startswith(NEWS)}
    paths = {f"{inside}user_encoder/{name}": value for name, value in held.items()}
    paths |= {f"{inside}time_distributed_1/{n}": v for n, v in held.items() if n.rpartition("/")[0] in news}
    return paths


def nested(held, architecture):
    """Path -> array as `save_weights("x.weights.h5")` stores them, beside an optimizer's."""
    counts, paths = {}, {"optimizer/vars/0": 7}
    for name, value in held.items():
        place = NESTED[architecture][name.rpartition("/")[0]]
        counts[place] = counts.get(place, -1) + 1
        paths[f"{place}/vars/{counts[place]}"] = value
    return paths


def write_hdf5(file, paths, attributes=None, groups=None):
    """An HDF5 file of these arrays; `attributes`, name -> text, are the root's, `groups`, path -> those, a group's."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(file, "w") as root:
        for name, text in (attributes or {}).items():
            root.attrs[name] = text
        for path, value in paths.items():
            root[path] = value
        for path, told in (groups or {}).items():
            root[path].attrs.update(told)
    return file


def write_zip(path, paths, config, members=None, version="3.15.1"):
    """A `.keras` archive; `members`, name -> content, come on top."""
    weights = io.BytesIO()
    write_hdf5(weights, paths)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    return path


def layer(kind, **config):
    """A layer in a model's configuration."""
    return {"module": "keras.layers", "class_name": kind, "config": config}


def functional(name, *layers, module="keras"):
    """A model of layers in a configuration."""
    return {"module": module, "class_name": "Functional", "config": {"name": name, "layers": list(layers)}}


def nrms_config(heads=2, head_dim=4, history=5, title=6, package="recommenders", shape="batch_shape"):
    """What the configuration of a small NRMS says; `package` None as in Keras 2.12, which leaves it out."""
    attend = {"class_name": "SelfAttention", "config": {"multiheads": heads, "head_dim": head_dim}}
    attend |= {} if package is None else {"module": f"{package}.models.newsrec.layers"}
    pool, drop = layer("AttLayer2", dim=5), layer("Dropout", rate=0.1)
    news = functional("news_encoder", layer("InputLayer", **{shape: [None, title]}), drop, attend, pool)
    users = layer("InputLayer", **{shape: [None, history, title]})
    user = functional("user_encoder", users, layer("TimeDistributed", layer=news), attend, pool)
    slate = layer("InputLayer", **{shape: [None, 3, title]})
    return functional("model", slate, users, layer("TimeDistributed", layer=news), user) | {
        "compile_config": {"loss": "categorical_crossentropy"}
    }

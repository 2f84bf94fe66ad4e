"""LibRecommender on interactions from a file; run by recommend.py in an environment of its own.

The two of its models that are nearest to what is here: its two-tower model, with the softmax and
its correction for sampling, and the retrieval model of YouTube, which reads recent events. Settings
are those of the library's examples, with vectors of 64 components, and the number of epochs, of
those tried, that finds most of the last known events of users drawn at random; it is then trained
anew on all events.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from libreco.algorithms import TwoTower, YouTubeRetrieval
from libreco.data import DatasetFeat, DatasetPure

ONE_BY_ONE, EPOCHS, VALIDATION = 50, (5, 10, 20), 1000


def two_tower(frame: pd.DataFrame, epochs: int, seed: int) -> TwoTower:
    """Train the two-tower model."""
    tf.compat.v1.reset_default_graph()
    data, info = DatasetFeat.build_trainset(frame, seed=seed)
    model = TwoTower(
        task="ranking",
        data_info=info,
        loss_type="softmax",
        embed_size=64,
        norm_embed=True,
        n_epochs=epochs,
        lr=1e-3,
        batch_size=1024,
        num_neg=1,
        use_bn=False,
        hidden_units=(128, 64),
        margin=1.0,
        use_correction=True,
        temperature=0.1,
        seed=seed,
    )
    model.fit(data, neg_sampling=True, verbose=0)
    return model


def youtube(frame: pd.DataFrame, epochs: int, seed: int) -> YouTubeRetrieval:
    """Train the retrieval model."""
    tf.compat.v1.reset_default_graph()
    data, info = DatasetPure.build_trainset(frame, seed=seed)
    model = YouTubeRetrieval(
        task="ranking",
        data_info=info,
        loss_type="sampled_softmax",
        embed_size=64,
        n_epochs=epochs,
        lr=1e-3,
        batch_size=1024,
        num_sampled_per_batch=min(1024, info.n_items // 2),
        hidden_units=(128, 64),
        recent_num=50,
        seed=seed,
    )
    model.fit(data, neg_sampling=True, verbose=0)
    return model


def lists(model: TwoTower | YouTubeRetrieval, users: np.ndarray, k: int) -> np.ndarray:
    """Return k movies for each user, `(Q, k)`."""
    found = model.recommend_user(users.tolist(), n_rec=k, filter_consumed=True)
    return np.array([found[user] for user in users.tolist()], dtype=np.int64)


def main(known: Path, scratch: Path, seed: int, k: int) -> None:
    """Train, recommend, and leave lists and seconds behind."""
    table = np.load(known)
    frame = pd.DataFrame({"user": table["known_users"], "item": table["known_movies"], "label": 1})
    asked = table["asked"]
    users = np.unique(frame["user"])
    chosen = np.random.default_rng(seed).permutation(users)[: min(VALIDATION, len(users) // 4)]
    last = ~frame["user"].duplicated(keep="last") & frame["user"].isin(chosen)
    makers: dict[str, Callable[[pd.DataFrame, int, int], TwoTower | YouTubeRetrieval]] = {
        "LibRecommender TwoTower": two_tower,
        "LibRecommender YouTubeRetrieval": youtube,
    }
    for name, make in makers.items():
        targets = frame[last].set_index("user")["item"]
        hits = {}
        for epochs in EPOCHS:
            found = lists(make(frame[~last], epochs, seed), targets.index.to_numpy(), k)
            hits[epochs] = (found == targets.to_numpy()[:, None]).any(axis=1).mean()
        best = max(hits, key=lambda epochs: hits[epochs])
        began = time.perf_counter()
        model = make(frame, best, seed)
        training = time.perf_counter() - began
        times = []
        for user in asked[:ONE_BY_ONE].tolist():
            began = time.perf_counter()
            model.recommend_user(user, n_rec=k, filter_consumed=True)
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        found = lists(model, asked, k)
        everyone = time.perf_counter() - began
        path = scratch / f"{make.__name__}.npy"
        np.save(path, found)
        said = {
            "name": f"{name}, {best} epochs",
            "lists": str(path),
            "training": training,
            "one": 1000 * float(np.median(times)),
            "everyone": everyone,
        }
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

from pathlib import Path

import numpy as np
import pytest
from small_worlds import without_visits
from torch import nn

from retrieval.data import columns
from retrieval.data.dataset import encode
from retrieval.data.frames import MovieData
from retrieval.errors import RequestError
from retrieval.options import Preset
from retrieval.pairs.content_training import fit_content
from retrieval.pairs.neural.examples import training_statistics
from retrieval.pairs.notebook.pair import make_module
from retrieval.pairs.notebook.settings import Activation, NotebookSettings
from retrieval.pipeline.indexing import add_movies
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import train
from retrieval.serving.recommender import Recommender


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("activation", list(Activation))
def test_the_notebook_has_the_published_shape(
    data: MovieData, layers: int, activation: Activation
) -> None:
    dataset = encode(data)
    content = fit_content(dataset.movie_frame, 0).describe(dataset.movie_frame)
    nothing = np.zeros(len(dataset.ratings), dtype=bool)
    whole = without_visits(dataset, content, nothing, nothing)
    settings = NotebookSettings(layers=layers, activation=activation)
    pair = make_module(whole, settings, training_statistics(dataset, ~nothing), 0)
    user, movie = (
        [(layer.in_features, layer.out_features) for layer in dense if isinstance(layer, nn.Linear)]
        for dense in (pair.user_dense, pair.movie_dense)
    )
    assert user == ([(207, 64), (64, 32)] if layers == 2 else [(207, 32)])
    assert movie == ([(105, 64), (64, 32)] if layers == 2 else [(105, 32)])
    published = {Activation.RELU: nn.ReLU, Activation.TANH: nn.Tanh, Activation.SIGMOID: nn.Sigmoid}
    others = [type(layer) for layer in pair.user_dense if not isinstance(layer, nn.Linear)]
    assert others == [published[activation]] * (layers - 1)


def test_the_notebook_is_trained_as_published() -> None:
    settings = preset_settings(Preset.NOTEBOOK)
    assert settings.pairs == ("notebook",)
    saved = settings.saved()["notebook"]
    assert (saved["batch_size"], saved["learning_rate"], saved["momentum"]) == (64, 0.002, 0.05)
    assert (saved["epochs"], saved["layers"], saved["activation"]) == (1, 2, "relu")


def test_the_notebook_is_trained_indexed_and_served(data: MovieData, tmp_path: Path) -> None:
    train(data, preset_settings(Preset.NOTEBOOK), tmp_path / "run", source="world")
    notebook = Recommender.load(tmp_path / "run")
    assert notebook.index.dimension == 33
    rows = notebook.topk(1, 5)
    assert len({row.rating for row in rows}) > 1 or rows[0].rating in {1.0, 5.0}
    later = data.movies.head(1).assign(**{columns.MOVIE_ID: 9999})
    with pytest.raises(RequestError, match="knows no movie it was not trained on"):
        add_movies(tmp_path / "run", later)

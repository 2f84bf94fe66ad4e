"""Texts of movies, such as plots: what they say of movies that nobody has rated.

python benchmarks/texts.py --data FOLDER --text plot [--cuts 3] [--towers bayesian]

A twentieth of the rated movies are left out, as in the protocol `new-movies`, and described by
their facts alone. The runs differ in what they read of the text: nothing, the leading directions of
its words (what the program does), the vector of a small encoder that has read other texts
(tokenlearn-static-model: 64 numbers, 7 MB, no torch), or both. The columns of `new_movies.py` are
reported for each, and the mean over the cuts.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import new_movies
import numpy as np
import pandas as pd
from machine import Report, arguments
from numpy.typing import NDArray
from static_model import get_embeddings

from retrieval.data.attributes import Attribute, AttributeKind
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.options import Preset
from retrieval.pairs import content_training
from retrieval.pipeline.settings import preset_settings
from retrieval.serving.new_movies import content_of, new_movie_vectors

# How many directions of words are read, and whether the encoder is.
WAYS = {
    "no text": (0, False),
    "words, 64": (64, False),
    "words, 200": (200, False),
    "encoder": (0, True),
    "words, 200, and encoder": (200, True),
}


def with_text(data: MovieData, text: str, *, words: bool, encoder: bool) -> MovieData:
    """Return data whose movies say of a text what is wanted.

    Args:
        data: Movies with the text as a column.
        text: Name of the column.
        words: Whether the text stays.
        encoder: Whether the numbers of the encoder are attributes.
    """
    movies, attributes = data.movies, list(data.movie_attributes)
    if encoder:
        encoded: NDArray[np.float64] = np.array(get_embeddings(movies[text].tolist()))
        encoded[movies[text] == ""] = np.nan
        names = [f"{text} {place}" for place in range(encoded.shape[1])]
        movies = pd.concat([movies, pd.DataFrame(encoded, movies.index, names)], axis=1)
        attributes += [Attribute(name, AttributeKind.NUMBER) for name in names]
    if not words:
        attributes = [each for each in attributes if each.name != text]
        movies = movies.drop(columns=text)
    return replace(data, movies=movies, movie_attributes=tuple(attributes))


def facts_of(cut: new_movies.Cut, text: str) -> list[dict[str, object]]:
    """Return the facts of the new movies, with the text if there is one."""
    facts, frame = new_movies.facts_of(cut), cut.dataset.movie_frame.iloc[cut.new]
    if text not in frame:
        return facts
    return [
        each | ({text: said} if said else {}) for each, said in zip(facts, frame[text], strict=True)
    ]


def main() -> None:
    """Train a run for every way and cut, and ask it about new movies."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with texts of movies")
    parser.add_argument("--text", required=True, help="column of the text")
    parser.add_argument("--cuts", type=int, default=3, help="cuts of seeds from --seed on")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.QUICK)
    parser.add_argument("--towers", default="bayesian", help="pairs to train")
    asked = parser.parse_args()
    settings = preset_settings(asked.preset, asked.towers.split(","))
    report = Report(asked, f"{asked.data.name}, preset {asked.preset}, {asked.towers}")
    whole, found = read_folder(asked.data), defaultdict(list)
    for seed in range(asked.seed, asked.seed + asked.cuts):
        for name, (words, encoder) in WAYS.items():
            content_training.TEXT_DIMENSION = words
            data = with_text(whole, asked.text, words=words > 0, encoder=encoder)
            parts = new_movies.cut(data, seed)
            facts = facts_of(parts, asked.text)
            with TemporaryDirectory() as scratch:
                run = new_movies.retrained(report, parts, settings, 0, Path(scratch) / "run")
                vectors = new_movie_vectors(run.snapshot.run, content_of(run.snapshot.run, facts))
            lists = new_movies.with_new(parts, run, vectors)
            new_movies.score(report, name, parts, lists, 0)
            found[name].append(report.rows[-1])
    for name, rows in found.items():
        means = {
            column: float(np.mean([row[column] for row in rows]))
            for column, value in rows[0].items()
            if isinstance(value, float)
        }
        said = "; ".join(f"{column} {value:.4f}" for column, value in means.items())
        report.add(
            f"{name:24} mean of {len(rows)} cuts: {said}", system=name, cuts=len(rows), **means
        )
    report.save()


if __name__ == "__main__":
    main()

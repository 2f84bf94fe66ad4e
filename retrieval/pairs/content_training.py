"""What describes movies, fitted on a frame of them: its words, names and attributes."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from retrieval.data import columns
from retrieval.data.attributes import SEPARATOR, Attribute, AttributeKind
from retrieval.pairs.content import ContentEncoder, people_of, texts_of
from retrieval.pairs.facts import fit_facts
from retrieval.pairs.words import WORD, Bag, Words, cut

TITLE_DIMENSION = 32
PEOPLE_DIMENSION = 32
TEXT_DIMENSION = 64

# Movies that a word or a name must come in.
FEWEST_MOVIES = 2


def fit_content(
    movies: pd.DataFrame, seed: int, attributes: Sequence[Attribute] = ()
) -> ContentEncoder:
    """Return what describes movies.

    Args:
        movies: With the columns `columns.MOVIES`, and those of the further attributes.
        seed: Of the randomised decomposition of words and names.
        attributes: What else is known of movies.
    """
    texts = tuple(each.name for each in attributes if each.kind is AttributeKind.TEXT)
    split = (row.split(SEPARATOR) for row in movies[columns.GENRES])
    genres = sorted({genre for row in split for genre in row if genre})
    return ContentEncoder(
        genres=tuple(genres),
        titles=_words(Bag.WORDS, movies[columns.TITLE].tolist(), TITLE_DIMENSION, seed),
        people=_words(Bag.NAMES, people_of(movies), PEOPLE_DIMENSION, seed),
        texts=_words(Bag.WORDS, texts_of(movies, texts), TEXT_DIMENSION, seed),
        text_names=texts,
        facts=fit_facts(movies, attributes),
    )


def vectorizer(bag: Bag) -> TfidfVectorizer:
    """Return what weighs the words of texts; `Words` applies what it learned."""
    match bag:
        case Bag.WORDS:
            return TfidfVectorizer(
                min_df=FEWEST_MOVIES,
                stop_words="english",
                sublinear_tf=True,
                token_pattern=WORD.pattern,
            )
        case Bag.NAMES:
            return TfidfVectorizer(
                min_df=FEWEST_MOVIES, tokenizer=partial(cut, bag), token_pattern=None
            )


def _words(bag: Bag, texts: Sequence[str], dimension: int, seed: int) -> Words:
    """Return the leading directions of a bag of words; none where no word comes twice."""
    nothing = Words((), np.zeros(0), np.zeros((0, 0)))
    weighing = vectorizer(bag)
    try:
        counted = weighing.fit_transform(texts)
    except ValueError:  # sklearn's word for an empty vocabulary
        return nothing
    dimension = min(dimension, counted.shape[1] - 1)
    if dimension < 1:
        return nothing
    with np.errstate(invalid="ignore"):  # equal texts have no variance to be explained
        found = TruncatedSVD(dimension, random_state=seed).fit(counted)
    words = tuple(weighing.get_feature_names_out().tolist())
    return Words(words, weighing.idf_, found.components_)

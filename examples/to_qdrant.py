"""Answer from Qdrant as `rec topk` does.

pip install qdrant-client pyarrow
rec export --run runs/demo --out exports/demo
python examples/to_qdrant.py exports/demo --user 42

Without --url the client keeps the vectors in this process, and needs no server.
"""

import pyarrow.parquet as pq
from exported import asked, best, read_export, show, user_of
from qdrant_client import QdrantClient, models

# Points that are sent together.
ROWS = 1000

# Candidates beyond k: the engine sums in single precision, so that the order of nearly equal scores
# is not certain before they are summed again.
MORE = 10


def load(client, name, export, folder):
    """Put the movies of an export into a collection; the id of a point is the row of the movie."""
    size = export.movie_vectors.shape[1]
    client.create_collection(
        name,
        vectors_config=models.VectorParams(size=size, distance=models.Distance.DOT),
        hnsw_config=models.HnswConfigDiff(m=0),  # no graph: every movie is looked at
    )
    columns = ["movie_id", "title", "year", "genres", "hidden"]
    first = 0
    with pq.ParquetFile(f"{folder}/movies.parquet") as movies:
        for batch in movies.iter_batches(ROWS, columns=columns):
            rows = range(first, first + len(batch))
            vectors = export.movie_vectors[first : first + len(batch)].tolist()
            points = models.Batch(ids=list(rows), vectors=vectors, payloads=batch.to_pylist())
            client.upsert(name, points)
            first += len(batch)


def topk(client, name, export, user, k=20, *conditions):
    """Return what `rec topk` lists; conditions are those of Qdrant, on what is known of movies."""
    row = export.row_of(user)
    seen = models.HasIdCondition(has_id=export.seen(row).tolist())
    hidden = models.FieldCondition(key="hidden", match=models.MatchValue(value=True))
    found = client.query_points(
        name,
        query=export.query_vectors[row].tolist(),
        query_filter=models.Filter(must=list(conditions), must_not=[seen, hidden]),
        limit=k + MORE,
        with_payload=False,
    )
    return best(export, row, [point.id for point in found.points], k)


if __name__ == "__main__":
    parser = asked()
    parser.add_argument("--url", help="address of a server, as in http://localhost:6333")
    options = parser.parse_args()
    opened = read_export(options.folder)
    server = QdrantClient(options.url or ":memory:")
    load(server, "movies", opened, options.folder)
    show(opened, topk(server, "movies", opened, user_of(opened, options.user), options.k))

"""Answer from Milvus as `rec topk` does.

pip install pymilvus milvus-lite pyarrow
rec export --run runs/demo --out exports/demo
python examples/to_milvus.py exports/demo --user 42 --store movies.db

The store is a file, which needs no server, or the address of a server.
"""

import numpy as np
import pyarrow.parquet as pq
from exported import asked, best, read_export, show, user_of
from pymilvus import DataType, MilvusClient

# Rows that are sent together.
ROWS = 1000

# Candidates beyond k, as the engine sums in single precision.
MORE = 10


def load(client, name, export, folder):
    """Put the movies of an export into a collection; the key of a movie is its row."""
    size = export.movie_vectors.shape[1]
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("row", DataType.INT64, is_primary=True)
    schema.add_field("hidden", DataType.BOOL)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index)
    columns = ["movie_id", "title", "year", "genres", "hidden"]
    first = 0
    with pq.ParquetFile(f"{folder}/movies.parquet") as movies:
        for batch in movies.iter_batches(ROWS, columns=columns):
            vectors = export.movie_vectors[first : first + len(batch)].tolist()
            rows = [
                {**movie, "row": first + place, "vector": vectors[place]}
                for place, movie in enumerate(batch.to_pylist())
            ]
            client.insert(name, rows)
            first += len(batch)
    client.flush(name)


def topk(client, name, export, user, k=20, condition=""):
    """Return what `rec topk` lists; a condition is one of Milvus, on what is known of movies.

    Seen movies are fetched with the others and left out afterwards: an approximate index that is
    told to leave out many loses some of the rest.
    """
    row = export.row_of(user)
    seen = export.seen(row)
    (found,) = client.search(
        name,
        data=[export.query_vectors[row].tolist()],
        filter=" and ".join(filter(None, ["hidden == false", condition])),
        limit=min(k + len(seen) + MORE, len(export.movie_ids)),
        search_params={"metric_type": "IP"},
        consistency_level="Strong",
    )
    movies = np.array([hit["row"] for hit in found], np.int64)
    return best(export, row, movies[~np.isin(movies, seen)], k)


if __name__ == "__main__":
    parser = asked()
    parser.add_argument("--store", required=True, help="file, or address of a server")
    options = parser.parse_args()
    opened = read_export(options.folder)
    server = MilvusClient(options.store)
    model = f"movies_{opened.manifest['run']['model'][:12]}"  # another model, another collection
    if not server.has_collection(model):
        load(server, model, opened, options.folder)
    server.load_collection(model)
    show(opened, topk(server, model, opened, user_of(opened, options.user), options.k))

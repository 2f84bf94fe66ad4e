"""LibRecommender's libserving with the users and movies of a run; started by service.py.

Its server for embeddings, as it is in the package: Sanic answers, the vector and the history of a
user come from Redis, and FAISS finds the movies. Vectors are drawn at random, as what they are
changes nothing of the time. The index is the one that the library makes: inverted lists, of which a
question looks into 10 of 80. Unlike `rec serve` it takes no events: an answer is that of the last
training.

The interpreter needs `pip install sanic redis ujson faiss-cpu "pydantic<2"` and
`pip install --no-deps LibRecommender`; the program `redis-server` is in the path. The first line
that is printed is the port.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import redis
import ujson
from libserving.sanic_serving import embed_deploy

DIMENSION, LISTS, PROBES = 64, 80, 10

PORT = 6379  # the only one that libserving looks for Redis at


def main(known: Path, movies: int) -> None:
    """Fill Redis, make an index, and answer until somebody ends it."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("there is no redis-server in the path")
    command = [program, "--port", str(PORT), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as database:  # noqa: S603 (ours)
        try:
            fill(np.load(known), movies)
            answer(known.with_name("faiss_index.bin"), movies)
        finally:
            database.terminate()


def fill(histories: np.lib.npyio.NpzFile, movies: int) -> None:
    """Put into Redis what `embed2redis` of the library puts there."""
    connection = redis.Redis(port=PORT, decode_responses=True)
    for _ in range(100):
        try:
            connection.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    offsets, watched = histories["offsets"], histories["movies"]
    users = range(len(offsets) - 1)
    vectors = np.random.default_rng(0).standard_normal((len(users), DIMENSION))
    with connection.pipeline() as pipe:
        for user in users:
            own = watched[offsets[user] : offsets[user + 1]].tolist()
            pipe.hset("user2id", str(user), str(user))
            pipe.hset("user_consumed", str(user), ujson.dumps(own))
            pipe.hset("user_embed", str(user), ujson.dumps(vectors[user].tolist()))
        for movie in range(movies):
            pipe.hset("id2item", str(movie), str(movie))
        pipe.execute()


def answer(path: Path, movies: int) -> None:
    """Answer on a free port of this machine."""
    faiss.omp_set_num_threads(1)
    vectors = np.random.default_rng(1).standard_normal((movies, DIMENSION)).astype(np.float32)
    lists = min(LISTS, movies // 40)
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(DIMENSION), DIMENSION, lists, faiss.METRIC_INNER_PRODUCT
    )
    index.train(vectors)
    index.add(vectors)
    index.nprobe = PROBES
    faiss.write_index(index, str(path))
    embed_deploy.find_index_path = lambda: str(path)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads the lines of its log
    embed_deploy.app.run(sock=listener, single_process=True, access_log=False, motd=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

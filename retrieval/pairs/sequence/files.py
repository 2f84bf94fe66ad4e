"""Files of the sequence pair in the folder of a run."""

NAME = "sequence"

TOWER_FILE = "sequence_tower.onnx"  # the layers of the user tower
CONTINUATION_FILE = "sequence_continuation.onnx"  # the same, after what was read before
WEIGHTS_FILE = "sequence.safetensors"
SIZES_FILE = "sequence.json"
MOVIES_FILE = "sequence_movies.npy"  # embeddings: a row of zeros, then the movies
USERS_FILE = "sequence_users.npy"  # what it says of all users as they are stored
FILES = (TOWER_FILE, CONTINUATION_FILE, WEIGHTS_FILE, SIZES_FILE, MOVIES_FILE, USERS_FILE)

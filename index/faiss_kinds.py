"""The FAISS index of each kind, before it has learned or holds anything."""

import faiss

from index.kinds import CODE_BITS, CODED, Kind

# Lists, for each square root of the number of vectors: those of short codes may be longer.
LISTS = {Kind.IVF: 3.0, Kind.IVFPQ: 2.0}

# Vectors of each list that its centre is learned from, and passes over them: a quarter and less of
# FAISS's own, for a tenth of the time.
SAMPLE, PASSES = 64, 10

# Neighbours of a node of an hnsw, and nodes in sight when one is added.
LINKS, EF_CONSTRUCTION = 32, 200

# Vectors whose codes are compared at once, which takes a tenth less time than FAISS's own 32.
BLOCK = 64

# Vectors that the codes of an ivfpq are learned from, at least.
FEWEST_TRAINED = 2**CODE_BITS


def empty_index(kind: Kind, count: int, width: int, coded: int = CODED) -> faiss.Index:
    """Return an index for about `count` vectors of `width` components, `coded` of them a code."""
    lists = max(1, min(round(LISTS.get(kind, 1.0) * count**0.5), count // 4))
    metric = faiss.METRIC_INNER_PRODUCT
    centres = faiss.IndexFlatIP(width)
    match kind:
        case Kind.EXACT:
            return faiss.IndexFlatIP(width)
        case Kind.IVF:
            code = faiss.ScalarQuantizer.QT_fp16
            index = faiss.IndexIVFScalarQuantizer(centres, width, lists, code, metric)
            index.by_residual = False
            return _learning_fast(index)
        case Kind.HNSW:
            index = faiss.IndexHNSWFlat(width, LINKS, metric)
            index.hnsw.efConstruction = EF_CONSTRUCTION
            return index
        case Kind.IVFPQ:
            codes = width // coded, CODE_BITS, metric, BLOCK
            index = faiss.IndexIVFPQFastScan(centres, width, lists, *codes)
            index.by_residual = True
            index.pq.cp.min_points_per_centroid = 1  # as below
            return _learning_fast(index)
        case Kind.SQ8:
            code = faiss.ScalarQuantizer.QT_8bit_uniform
            return faiss.IndexScalarQuantizer(width, code, metric)


def is_like(index: faiss.Index, wanted: faiss.Index) -> bool:
    """Return whether an index has the class, the dimension and the codes of another."""
    same = ("d", "metric_type", "code_size", "by_residual")
    return (
        type(index) is type(wanted)
        and all(getattr(index, fact, None) == getattr(wanted, fact, None) for fact in same)
        and (not hasattr(index, "sq") or index.sq.qtype == wanted.sq.qtype)
    )


def _learning_fast(index: faiss.IndexIVF) -> faiss.IndexIVF:
    """Return an index that learns its centres from few vectors in few passes."""
    index.cp.max_points_per_centroid, index.cp.niter = SAMPLE, PASSES
    index.cp.min_points_per_centroid = 1  # FAISS prints a warning where there are fewer
    return index

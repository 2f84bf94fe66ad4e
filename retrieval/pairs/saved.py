"""Torch modules in the folder of a run: weights as safetensors, sizes as JSON; no pickle."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.torch import load_file
from torch import Tensor, nn

from retrieval.pairs.sizes import Sizes
from retrieval.storage.arrays import save_arrays
from retrieval.storage.damage import readable
from retrieval.storage.files import new_file


class SavedModule(NamedTuple):
    """What `save_module` wrote."""

    sizes: Sizes
    weights: dict[str, Tensor]  # parameters and buffers by their names
    facts: dict[str, Any]  # beside the sizes


def save_module(
    weights: Path, card: Path, module: nn.Module, sizes: Sizes, facts: dict[str, Any]
) -> None:
    """Write the parameters and buffers of a module, and what made it.

    Args:
        weights: File of the parameters and buffers.
        card: File of the sizes and facts.
        module: The module.
        sizes: Sizes of its data.
        facts: Facts that `load_module` returns.
    """
    save_arrays(weights, {name: value.numpy() for name, value in module.state_dict().items()})
    card.write_text(json.dumps(facts | {"sizes": sizes._asdict()}, indent=2) + "\n")


def load_module(weights: Path, card: Path) -> SavedModule:
    """Read back what `save_module` wrote.

    Raises:
        RunError: A file is damaged.
    """
    with readable(card):
        facts: dict[str, Any] = json.loads(card.read_text())
        sizes = Sizes(**facts.pop("sizes"))
        sizes = sizes._replace(attributes=tuple(sizes.attributes))
    with readable(weights):
        return SavedModule(sizes, load_file(weights), facts)


def without_user(weights: Path, card: Path, embedding: str, row: int) -> None:
    """Write a pair anew without one row of its embedding of user ids.

    Args:
        weights: See `save_module`; other versions may share the files.
        card: See there.
        embedding: Name of the parameter that embeds user ids.
        row: Row to leave out.
    """
    sizes, parameters, facts = load_module(weights, card)
    kept = {name: value.numpy() for name, value in parameters.items()}
    kept[embedding] = np.delete(kept[embedding], row, axis=0)
    with new_file(weights) as partial:
        save_arrays(partial, kept)
    fewer = sizes._replace(users=sizes.users - 1)
    with new_file(card) as partial:
        partial.write_text(json.dumps(facts | {"sizes": fewer._asdict()}, indent=2) + "\n")

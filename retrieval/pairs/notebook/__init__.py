"""The notebook pair: the published model that this project grew from, to the letter."""

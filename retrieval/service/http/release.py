"""Which release of the program serves."""

from importlib.metadata import PackageNotFoundError, version

# The package itself would name it too, and with it all that a training needs.
DISTRIBUTION = "two-tower-rec"


def release() -> str:
    """Return the version that is installed, as packaging tools know it."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a folder of sources
        return "0+unknown"

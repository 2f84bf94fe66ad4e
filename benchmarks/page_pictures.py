"""Pictures of the page of a running service: what a viewer sees, and what an operator sees.

python benchmarks/page_pictures.py ADDRESS [--user ID] [--out FOLDER]

The service is that of `rec serve`; lists are asked of it meanwhile. Needs Chromium.
"""

import argparse
import math
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"

# Pixels of the window; pictures have twice as many, for screens that show them.
DESKTOP, PHONE = (1280, 800), (390, 800)
DENSITY = 2

# Seconds in which the live view draws its curves.
WATCHED = 60

# Requests a second that it sees, at most, and seconds from one such time to the next.
RATE, PERIOD = 30, 24


class Picture(NamedTuple):
    """One picture.

    Args:
        name: Of its file.
        route: What the page shows.
        ready: What has to be there, as a selector of CSS.
        size: Width and height of the window.
        scheme: Colours.
        seconds: How long the page is let alone.
    """

    name: str
    route: str
    ready: str
    size: tuple[int, int] = DESKTOP
    scheme: str = "light"
    seconds: float = 1


def pictures(user: str, movie: str) -> list[Picture]:
    """Return what is taken.

    Args:
        user: Whose list is shown.
        movie: Which movie is shown, by its id.
    """
    listed, card = f"user/{user}", ".cards .card:not(.skeleton)"
    return [
        Picture("page-list", listed, card),
        Picture("page-list-dark", listed, card, scheme="dark"),
        Picture("page-list-phone", listed, card, size=PHONE),
        Picture("page-start", "", ".new-user .card"),
        Picture("page-movie", f"movie/{movie}?user={user}", ".movie-near .card"),
        Picture("page-quality", "quality", ".run"),
        Picture("page-live", "live", ".tile", seconds=WATCHED),
        Picture("page-catalogue", "catalogue", ".legend li"),
    ]


def take(browser: Browser, address: str, picture: Picture, folder: Path) -> Path:
    """Take one picture; return its file."""
    width, height = picture.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=DENSITY,
        color_scheme="dark" if picture.scheme == "dark" else "light",
        locale="en-GB",
    )
    page = context.new_page()
    page.goto(f"{address}#/{picture.route}")
    page.locator(picture.ready).first.wait_for()
    page.wait_for_timeout(1000 * picture.seconds)
    path = folder / f"{picture.name}.png"
    page.screenshot(path=path)
    context.close()
    # A palette halves the file, and flat colours lose nothing.
    with Image.open(path) as taken:
        taken.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


@contextmanager
def asked(address: str) -> Iterator[None]:
    """Ask for lists, now more and now less often, so that there is something to see."""
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=address) as client:
            user, began = 0, time.monotonic()
            while not done.is_set():
                user += 1
                client.get(f"v1/users/{user % 100 + 1}/recommendations").raise_for_status()
                phase = 2 * math.pi * (time.monotonic() - began) / PERIOD
                done.wait(1 / (RATE * (0.6 + 0.4 * math.sin(phase))))

    asking = threading.Thread(target=ask)
    asking.start()
    yield
    done.set()
    asking.join()


def first_of(address: str, user: str) -> str:
    """Return the id of the first movie in the list of a user."""
    answer = httpx.get(f"{address}v1/users/{user}/recommendations", params={"k": 1})
    return str(answer.raise_for_status().json()["movies"][0]["movie_id"])


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("address", help="of the service, http://127.0.0.1:8000/")
    parser.add_argument("--user", default="42", help="whose list is shown")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the pictures")
    given = parser.parse_args()
    address = given.address.rstrip("/") + "/"
    given.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        with asked(address):
            for picture in pictures(given.user, first_of(address, given.user)):
                print(take(browser, address, picture, given.out))
        browser.close()


if __name__ == "__main__":
    main()

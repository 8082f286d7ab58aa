"""Make the pictures of the pages by the code that the pages show.

    python docs/tools/pictures.py

Each page's Python blocks run in one namespace and an empty folder; the PNG files that they write
and the page shows are copied to `docs/images`. `tests/test_docs.py` runs the same blocks, with
fewer training steps.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

DOCS = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language in a Markdown text."""
    return [code for name, code in _BLOCK.findall(text) if name == language]


def own_pictures(text: str) -> list[str]:
    """Return the names of the pictures that a page's code makes."""
    return re.findall(r"\]\(images/([\w-]+\.png)\)", text)


def run(page: Path, folder: Path) -> None:
    """Run the Python blocks of a page in one namespace.

    Parameters
    ----------
    page
        The Markdown file.
    folder
        The working directory of the code.
    """
    before = Path.cwd()
    os.chdir(folder)
    try:
        namespace: dict[str, object] = {"__name__": "__page__"}
        for number, code in enumerate(blocks(page.read_text(encoding="utf-8"), "python"), 1):
            exec(compile(code, f"{page.name}, block {number}", "exec"), namespace)
    finally:
        os.chdir(before)


def main() -> None:
    """Make the pictures of all pages."""
    import matplotlib as mpl

    mpl.use("Agg")
    for page in sorted(DOCS.glob("*.md")):
        names = own_pictures(page.read_text(encoding="utf-8"))
        if names:
            with tempfile.TemporaryDirectory() as folder:
                run(page, Path(folder))
                for name in names:
                    shutil.copy(Path(folder, name), DOCS / "images" / name)
                    print(page.name, name)


if __name__ == "__main__":
    main()

"""What MkDocs does beside rendering: tables from results, pages from files outside `docs/`.

In a page `<!-- table: NAME -->` becomes a table of `tables.py`, and `<!-- include: PATH -->` the
text of a file of the repository, whose links lead to pages of the site or become plain text.
"""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from tables import TABLES

ROOT = Path(__file__).parents[2]
# files of the repository that are pages of the site
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/scaling.md": "benchmarks.md",
    "docs/what-survives.md": "what-survives.md",
    "pretraining/MODEL_CARD.md": "pretrained.md",
    **{
        f"examples/{path.name}": f"examples/{path.name}"
        for path in sorted((ROOT / "examples").glob("*.ipynb"))
    },
}


@event_priority(100)  # before the plugin that renders notebooks looks for them
def on_files(files: Files, config: Any) -> Files:
    """Add the notebooks and the picture of `examples/`."""
    for uri in [uri for uri in PAGES.values() if uri.endswith(".ipynb")] + ["examples/compare.png"]:
        files.append(File(uri, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Insert tables and files."""
    markdown = re.sub(r"<!-- table: ([\w-]+) -->", lambda m: TABLES[m[1]](), markdown)
    return re.sub(
        r"<!-- include: (\S+)(?: as (section|body))? -->",
        lambda m: include(m[1], page.file.src_uri, m[2]),
        markdown,
    )


def include(source: str, page: str, kind: str | None) -> str:
    """Return the text of a file, with the links of a page of the site.

    Parameters
    ----------
    source
        The file, from the root of the repository.
    page
        The page, from the folder of the site.
    kind
        `section` moves its headings down by a level; `body` leaves the title out, too.
    """
    text = (ROOT / source).read_text(encoding="utf-8")

    def link(found: re.Match[str]) -> str:
        label, target = found.groups()
        if re.match(r"https?:|#", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path not in PAGES:
            return label
        return f"[{label}]({posixpath.relpath(PAGES[path], posixpath.dirname(page) or '.')})"

    text = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)", link, text)
    if kind == "body":
        text = re.sub(r"\A# .*\n", "", text)
    return re.sub(r"^#", "##", text, flags=re.MULTILINE) if kind else text

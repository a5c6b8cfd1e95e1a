"""Documents tell the truth about the repository: links resolve, verbs exist, decisions are numbered."""

from __future__ import annotations

import re
from collections import Counter

from tests.tidy.repository import ROOT, name_of, sources

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
MAKE_VERB = re.compile(r"(?:^|`)make ([a-z]+)\b", re.MULTILINE)
DOCUMENTS = sources(".md")


def anchors(text: str) -> set[str]:
    """The fragment names that a renderer gives to the headings."""
    names = set()
    for heading in HEADING.findall(text):
        name = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        names.add(name.replace(" ", "-"))
    return names


def test_relative_links_resolve() -> None:
    broken = []
    for document in DOCUMENTS:
        for target in LINK.findall(CODE.sub("", document.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, fragment = target.partition("#")
            file = document.parent / path if path else document
            if not file.exists():
                broken.append(f"{name_of(document)}: {target}")
            elif fragment and file.suffix == ".md" and fragment not in anchors(file.read_text()):
                broken.append(f"{name_of(document)}: no heading for {target}")
    assert not broken


def test_make_verbs_in_documents_exist() -> None:
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    unknown = {
        f"{name_of(document)}: make {verb}"
        for document in DOCUMENTS
        for verb in MAKE_VERB.findall(document.read_text())
        if verb not in verbs
    }
    assert not unknown


def test_decisions_have_a_number_and_a_title_of_their_own() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = Counter(file.name[:4] for file in files)
    assert files
    assert all(number.isdigit() and count == 1 for number, count in numbers.items()), numbers
    untitled = [name_of(file) for file in files if not file.read_text().startswith("# ")]
    assert not untitled

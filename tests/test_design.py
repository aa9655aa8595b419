"""The page to build from names what there is."""

import re

from qexp.paths import packaged

ROOT = packaged("conf").parent


def test_the_layout_names_every_module_once_and_no_other() -> None:
    layout = (ROOT / "docs/design.md").read_text().partition("\nqexp/\n")[2].partition("\nbundled/")[0]
    named: list[str] = []
    folder = ""
    for line in layout.splitlines():
        if begins := re.match(r"  (?:(\w+/) +)?\S", line):
            folder = begins[1] or ""
        named += [folder + module for module in re.findall(r"\w+\.py", line)]
    package = ROOT / "qexp"
    modules = {str(file.relative_to(package)) for file in package.rglob("*.py") if file.name != "__init__.py"}
    assert sorted(named) == sorted(modules)

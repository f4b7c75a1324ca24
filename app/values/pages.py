"""The pages, in the order of the navigation. A page is a file `pages/NAME.py` that composes its parts in
`app/views/NAME/`, and a row here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A screen of its own."""

    name: str
    """Name of its file, and in the address."""
    title: str
    icon: str
    needs_pair: bool = True
    """Whether it has nothing to show before a pair is open."""
    first: bool = False
    """The one that the app opens at."""

    @property
    def link(self) -> str:
        """For `st.page_link` and `st.switch_page`: relative to the script that Streamlit runs, `app/shell/rerun.py`."""
        return f"../../pages/{self.name}.py"


PAGES = {
    page.name: page
    for page in (
        Page("pair", "Pair", ":material/compare:", needs_pair=False),
        Page("heads", "Heads", ":material/grid_on:", first=True),
        Page("components", "Components", ":material/stacked_bar_chart:"),
        Page("restore", "Restore", ":material/healing:"),
        Page("compare", "Compare", ":material/table_rows:", needs_pair=False),
        Page("learn", "Learn", ":material/school:"),
    )
}

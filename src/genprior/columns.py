"""Lines of text whose cells stand under each other. Imports nothing of ours."""

from collections.abc import Sequence
from io import StringIO


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a line for each row, its cells as wide as the widest one of their column, two spaces between them.

    Arguments:
        rows: Cells of plain text, as many in each row.

    Example:
        >>> aligned([["", "samples"], ["recall", "0.5"]])
        ['        samples', 'recall  0.5']
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    widest = sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(Text, row))
    # A wide character takes two places; a console that is too narrow would cut cells.
    console = Console(file=StringIO(), width=2 * widest + 1, color_system=None, force_terminal=False)
    lines = console.render_lines(table, pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]

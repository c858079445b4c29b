"""One self-contained HTML file about runs: data from their folders, figures, page. No mathematics beyond medians."""

from genprior.report.page import write_report

__all__ = ["write_report"]

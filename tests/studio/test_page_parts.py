"""Whatever goes wrong in a call of the page is told in a line of the page."""

from collections.abc import Iterator

import pytest

from genprior.studio.page_parts import told_errors


def test_an_error_of_the_program_is_told_and_all_of_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> tuple[str, str]:
        raise IndexError("no such draw")

    def fails_later() -> Iterator[tuple[str, str]]:
        yield "four draws", ""
        raise IndexError("no such draw")

    told = [told_errors(fails, ("kept",))(), *told_errors(fails_later, ("kept",))()]
    assert told[1] == ("four draws", "")
    for kept, said in (told[0], told[2]):
        assert kept == "kept"
        assert "IndexError: no such draw. All that is known" in said
    assert caplog.text.count("Traceback") == 2

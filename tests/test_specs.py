"""Specs are parsed once into values, and tables tell their names without being imported."""

import math
import subprocess
import sys

import pytest

from genprior.errors import GenpriorError
from genprior.families import FAMILIES
from genprior.specs import Spec, Table

PARTS = {"pair": lambda a, b=2: (a, b), "word": lambda text="x", number=1.0: (text, number)}


def _named(file: str, size: int = 3) -> tuple[str, int]:
    return file, size


TABLES = {f"{family} {name}": table for family, config in FAMILIES.items() for name, table in config.tables().items()}


@pytest.mark.parametrize("text", ["hinge", "r1:gamma=1,every=8", "inpaint:half=lower"])
def test_a_spec_is_its_text(text: str) -> None:
    assert str(Spec.parse(text)) == text
    assert Spec.parse(text) == text
    assert hash(Spec.parse(text)) == hash(text)
    assert Spec.parse(text) != "another"


def test_options_become_numbers_where_no_word_is_wanted() -> None:
    assert Spec.parse("pair:b=5").build(PARTS, "thing", a=1) == (1, 5)
    assert Spec.parse("pair:b=1e-2").build(PARTS, "thing", a=1) == (1, 0.01)
    assert Spec.parse("named:file=7,size=4").build({"named": _named}, "thing") == ("7", 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pari", "thing: unknown thing 'pari', did you mean 'pair'"),
        ("pair:c=1", "unknown option 'c' of 'pair'"),
        ("pair:a=1", "unknown option 'a' of 'pair'"),
        ("pair:b=much", "option 'b' of 'pair' must be a number, got 'much'"),
        ("pair:b", "option 'b' of 'pair' must be a number, got ''"),
    ],
)
def test_what_a_table_does_not_know_is_refused(text: str, message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        Spec.parse(text).build(PARTS, "thing", a=1)


def test_words_that_look_like_numbers_stay_as_they_are() -> None:
    for word in ("007", "1_0", "1e3", "+7", "2024_01"):
        assert Spec.parse(f"named:file={word}").build({"named": _named}, "thing") == (word, 3)
    assert Spec.parse(f"pair:b={'1' * 400}").build(PARTS, "thing", a=1) == (1, math.inf)
    assert Spec("pair", {"b": 5}).build(PARTS, "thing", a=1) == (1, 5)
    assert Spec("named", {"file": 7}).build({"named": _named}, "thing") == ("7", 3)


def test_options_are_added_or_replaced() -> None:
    assert Spec.parse("mlp:width=128,norm=none").with_options(norm="spectral", depth=3) == (
        "mlp:width=128,norm=spectral,depth=3"
    )


def test_specs_mean_the_same_where_defaults_say_so() -> None:
    assert Spec.parse("word").means(Spec.parse("word:number=1"), PARTS)
    assert not Spec.parse("word").means(Spec.parse("word:number=2"), PARTS)
    assert not Spec.parse("word").means(Spec.parse("pair"), PARTS)


@pytest.mark.parametrize("where", TABLES)
def test_names_read_from_the_source_are_those_of_the_table(where: str) -> None:
    table = TABLES[where]
    assert table.names() == list(table.load())
    assert all(name in table.described() for name in table.names())


def test_names_are_read_without_torch() -> None:
    code = (
        "import sys; from genprior.specs import Table; "
        "print(Table('genprior.training.losses', 'LOSSES').described(), 'torch' in sys.modules)"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert text.startswith("saturating, ")
    assert text.endswith("False\n")


def test_described_names_options_and_their_defaults() -> None:
    assert "huber:delta=0.1" in Table("genprior.restoration.fidelity", "FIDELITIES").described()
    assert "few-steps:evaluations=4,width=64,levels=2,blocks=2,wiener=0,disc" in (
        Table("genprior.models.players", "MODELS").described()
    )
    assert "inpaint:box=...," in Table("genprior.restoration.operators", "OPERATORS").described()


def test_an_option_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="each option may be given once"):
        Spec.parse("inpaint:box=4,box=9")

"""The rule of the truth counts faulted and faultless particles alike."""

import pytest

from sim.checks.truth import MATERIALS, Stratum, count, main, table_of


@pytest.mark.parametrize("material", MATERIALS)
def test_the_rule_counts_what_is_there(material: str) -> None:
    stratum = count(material, (3.0, 4.5), 150, 3)
    assert stratum.yes > 10
    assert stratum.no > 10
    assert stratum.yes == stratum.resolved_faulted
    assert stratum.yes + stratum.no == stratum.resolved
    assert abs(stratum.deviation) < 3.5


@pytest.mark.parametrize("material", ["CdSe-wurtzite", "Au"])
def test_stacking_faults_alone_are_counted_alike(material: str) -> None:
    """Of three kinds that gold is given in equal parts one is the twin; wurtzite has stacking faults alone."""
    alone, every = (count(material, (3.0, 4.5), 150, 3, kinds) for kinds in ("stacking", "planar"))
    assert alone.yes == alone.resolved_faulted
    assert alone.yes + alone.no == alone.resolved == every.resolved
    assert alone.yes < every.yes if material == "Au" else alone.yes == every.yes


def test_a_rule_that_leaves_faults_out_is_noticed() -> None:
    """The rule before this one called 30 of 100 faulted where 48 were: the check must see that."""
    asymmetric = Stratum("Au", (3.0, 4.5), 400, 192, 200, 96, 60, 140, 0)
    assert not asymmetric.agrees
    assert asymmetric.deviation < -4
    assert "DIFFERS" in table_of([asymmetric])


def test_the_command_prints_a_row_a_stratum(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--particles", "240"]) in (0, 1)
    assert len(capsys.readouterr().out.splitlines()) == 13

"""Coverage of regions: which sources name a node's region, and where one alone does."""

from __future__ import annotations

from auditor.judge import judge
from auditor.reports.region_words import unchecked_region_words
from auditor.values.addresses import Prefix
from auditor.values.report import RegionCoverage
from tests.fleets import Mesh

PATTERN = r"^edge-(?P<region>[a-z]{3})-"


def counted(mesh: Mesh) -> tuple[RegionCoverage, ...]:
    """The coverage of regions in the report on this mesh."""
    return judge(mesh.snapshot()).coverage.regions


def test_a_region_that_only_the_registration_names_is_not_checked() -> None:
    mesh = Mesh(name_pattern=PATTERN).node("edge-fra-1", "10.0.0.2", region="fra")
    mesh.node("db-1", "10.0.0.3", region="fra").node("db-2", "10.0.0.4", region="sin")
    assert counted(mesh) == (
        RegionCoverage("fra", 2, 1, {"name": 1, "registration": 2}, {"registration": 1}),
        RegionCoverage("sin", 1, 0, {"registration": 1}, {"registration": 1}),
    )


def test_the_node_itself_is_a_witness_of_its_region() -> None:
    mesh = Mesh().node("x", "10.0.0.2", region="fra").says_region("x", "fra")
    assert counted(mesh) == (RegionCoverage("fra", 1, 1, {"node itself": 1, "registration": 1}, {}),)


def test_two_words_of_the_address_plan_are_one_witness() -> None:
    plan = {"fra": Prefix("10.1.0.0/16"), "sin": Prefix("10.2.0.0/16")}
    (region,) = counted(Mesh(region_pools=plan).node("x", "10.1.0.2", "10.2.0.2"))
    assert region.unchecked == 1
    assert region.alone == {"address plan": 1}


def test_the_words_say_how_many_nodes_have_one_witness_and_where() -> None:
    mesh = Mesh(name_pattern=PATTERN).node("edge-fra-1", "10.0.0.2", region="fra")
    mesh.node("db-1", "10.0.0.3", region="sin").node("db-2", "10.0.0.4")
    assert unchecked_region_words(counted(mesh)) == (
        "region: one witness (registration), not checked, for 1 of 3 nodes: sin 1",
        "region: no witness, not checked, for 1 of 3 nodes",
    )


def test_where_every_region_has_two_witnesses_nothing_is_said() -> None:
    mesh = Mesh(name_pattern=PATTERN).node("edge-fra-1", "10.0.0.2", region="fra")
    assert unchecked_region_words(counted(mesh)) == ()


def test_a_long_list_of_regions_is_summed_up() -> None:
    regions = [RegionCoverage(f"r{number}", 2, 1, {"name": 1}, {"name": 1}) for number in range(9)]
    (line,) = unchecked_region_words(regions)
    assert line.endswith("for 9 of 18 nodes: r0 1, r1 1, r2 1, r3 1, r4 1, r5 1, 3 others 3")

"""The view as a link, there and back; no link grants trust."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.session import links
from app.session.state import Session
from app.values.names import from_text
from app.values.picks import Picks
from restorelcc.artifacts.findings import Recipe
from restorelcc.errors import RestoreLCCError, SettingError
from restorelcc.models.loading import Loading
from restorelcc.pruning.layerwise import Pruning
from restorelcc.selection.picks import everything, of_heads, random_heads

SHAPE = (3, 4, 8)
name = st.text(min_size=1)
share = st.floats(0, 1, exclude_min=True, exclude_max=True)
method = st.sampled_from(["wanda", "sparsegpt", "magnitude"])
pattern = st.sampled_from(["2:4", "4:8", "1:16"])
prunings = (
    st.builds(Pruning, method, share, allocation=st.sampled_from(["uniform", "owl"]))
    | st.builds(Pruning, method, pattern=pattern)
    | st.builds(Pruning, st.just("structured"), share)
)
recipes = st.builds(
    Recipe,
    dense=name,
    pruned=st.none() | name,
    pruning=prunings,
    calibration=name,
    evaluation=name,
    windows=st.integers(2, 10**6),
    captured=st.integers(1, 10**6),
    evaluated=st.integers(1, 10**6),
    length=st.none() | st.integers(2, 10**6),
    loading=st.builds(
        Loading,
        st.sampled_from(["auto", "cpu", "cuda:1", "mps"]),
        st.sampled_from(["auto", "float32", "bfloat16", "float16"]),
        st.none() | name,
    ),
)


@pytest.fixture
def workspace(lost):
    """As much of one as links look at."""
    return SimpleNamespace(lost=lost)


@settings(deadline=None)  # the machine may be busy
@given(recipes)
def test_a_recipe_there_and_back(recipe):
    assert links.recipe_read(links.recipe_written(recipe)) == recipe
    assert links.recipe_of_a_word(links.recipe_in_a_word(recipe)) == recipe


def test_what_is_at_its_default_is_left_out():
    assert links.recipe_written(Recipe()) == {}
    assert links.recipe_read({}) == Recipe()
    assert links.written(Session(owner="me")) == {}
    assert links.recipe_written(Recipe(pruning=Pruning("wanda", 0.5))) == {"method": "wanda", "prune": "0.5"}
    owl = Recipe(pruning=Pruning("sparsegpt", 0.5, allocation="owl"))
    assert links.recipe_written(owl) == {"method": "sparsegpt", "prune": "0.5", "allocation": "owl"}


@pytest.mark.parametrize("trust", ["allow_pickle", "trust_remote_code"])
def test_no_link_grants_trust(trust):
    trusting, plain = Recipe("a/b", loading=Loading(**{trust: True})), Recipe("a/b")
    assert links.recipe_written(trusting) == links.recipe_written(plain)
    for value in ("True", "1", "true"):
        assert links.recipe_read({"dense": "a/b", trust: value}) == plain
    session = Session(owner="me")
    links.applied(session, {trust: "True", "loading": "True"})
    assert session.recipe == Recipe()


def test_a_link_names_nobody():
    session = Session(owner="secret", picks=Picks(everything(SHAPE)), head=(1, 1), run="r")
    assert "secret" not in str(links.written(session))


@pytest.mark.parametrize(
    "link",
    [
        {"windows": "many"},
        {"windows": "1"},
        {"windows": "9" * 5000},
        {"captured": "0"},
        {"length": "1"},
        {"length": "-5"},
        {"prune": "most"},
        {"prune": "2"},
        {"prune": "nan"},
        {"prune": "4:2"},
        {"prune": "2:"},
        {"prune": "0.5", "method": "obs"},
        {"prune": "2:4", "method": "structured"},
        {"prune": "0.5", "allocation": "chance"},
        {"dtype": "int4"},
        {"device": "toaster"},
    ],
)
def test_a_broken_link_is_one_kind_of_error(link):
    with pytest.raises(SettingError):
        links.recipe_read(link)
    session = Session(owner="me")
    with pytest.raises(SettingError):
        links.applied(session, {"metric": "cosine_distance", **link})
    assert session.recipe == Recipe()
    assert session.metric == "cosine_distance"  # what can be read is


words = st.text(max_size=8) | st.text(alphabet="0123456789.:-~_*²", max_size=8)
names = st.sampled_from(["dense", "windows", "length", "prune", "method", "allocation", "head", "component", "metric",
                         "run", "picks", "device", "dtype", "revision", "x"])  # fmt: skip


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(names, words))
def test_any_link_is_read_or_refused(link):
    session = Session(owner="me")
    try:
        links.applied(session, link)
        lost = SimpleNamespace(shape=SHAPE, present=torch.ones(SHAPE[:2], dtype=torch.bool))
        links.fitted(session, SimpleNamespace(lost=lost))
    except RestoreLCCError:
        return
    again = Session(owner="me")
    links.applied(again, links.written(session))
    assert links.written(again) == links.written(session)


@pytest.mark.parametrize(
    "picks",
    [
        Picks.none(SHAPE),
        Picks(everything(SHAPE)),
        Picks(random_heads(SHAPE, 3, seed=0)).scaled((2, 3, 1), -0.35),
    ],
)
def test_a_view_there_and_back(picks, workspace):
    session = Session(
        owner="me",
        recipe=Recipe("a/b", pruning=Pruning("magnitude", pattern="2:4")),
        metric="output_weighted",
        head=(0, 0),
        component=7,
        run="2024-restored",
        picks=picks,
    )
    link, other = links.written(session), Session(owner="you")
    links.applied(other, link)
    assert links.written(other) == link  # before the pair is open, too
    links.fitted(other, workspace)
    assert links.written(other) == link
    for part in ("recipe", "metric", "head", "component", "run"):
        assert getattr(other, part) == getattr(session, part)
    assert other.picks in ((picks,) if len(picks) else (None,))
    assert other.link == {}


def test_what_does_not_fit_the_pair_is_left_out(workspace):
    session = Session(owner="me")
    links.applied(session, {"head": "1.4", "component": "8", "picks": "0.0_1"})
    links.fitted(session, workspace)
    assert session.head is None
    assert session.component == 7
    assert session.picks == Picks(of_heads(SHAPE, [])).scaled((0, 0, 1), 1.0)


@pytest.mark.parametrize("text", ["9.9", "0.0_8", "nonsense"])
def test_picks_of_another_pair_are_refused_and_none_are_picked(workspace, text):
    session = Session(owner="me")
    links.applied(session, {"picks": text})
    with pytest.raises(SettingError):
        links.fitted(session, workspace)
    assert session.picks == Picks.none(SHAPE)
    assert links.written(session) == {}


def test_more_picks_than_a_link_can_hold_are_left_out():
    session = Session(owner="me", head=(1, 2))
    session.picks = Picks.none((3, 4, 400))
    for index in range(400):
        session.picks = session.picks.scaled((0, 0, index), 1.5)
    assert links.written(session) == {"head": "1.2"}


@pytest.mark.parametrize("text", ["²", "1.²", "x.1", "1", "1.2.3", "-1.0", "9" * 5000 + ".0"])
def test_a_head_that_cannot_be_read_is_none(text):
    session = Session(owner="me")
    links.applied(session, {"head": text, "component": text, "metric": text})
    assert session.head is None
    assert session.component in (0, 1)
    assert session.metric == Session.metric


def test_names_that_cannot_be_read_are_left_out():
    assert from_text("1.2.3=speech~x.y=z~4.5=q~0.0.1= ~2.0.0=a=b") == {(1, 2, 3): "speech", (2, 0, 0): "a b"}
    assert from_text("") == {}


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({"head": "0.1", "component": "1", "picks": "0.1", "names": "0.1.0=speech"}, []),
        ({"head": "90.1"}, ["head 90.1"]),
        ({"head": "0.4", "component": "99"}, ["head 0.4", "component 99"]),
        ({"names": "7.0.0=a~0.0.0=b", "component": "8"}, ["1 named components", "component 8"]),
    ],
)
def test_what_another_pair_has_is_named_once_and_left_out(workspace, link, said):
    session = Session(owner="me")
    links.applied(session, link)
    told = links.fitted(session, workspace)
    assert all(part in told for part in said)
    assert bool(told) == bool(said)
    again = Session(owner="you")
    links.applied(again, links.written(session))
    assert links.fitted(again, workspace) == ""


def test_picks_that_cannot_be_are_told_with_the_rest(workspace):
    session = Session(owner="me")
    links.applied(session, {"head": "90.1", "picks": "80.1"})
    with pytest.raises(SettingError, match=r"80, 1.*head 90\.1"):
        links.fitted(session, workspace)
    assert session.head is None
    assert links.written(session) == {}


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({}, ""),
        ({"metric": "cosine_distance", "head": "0.1", "component": "3", "names": "0.1.0=speech"}, ""),
        ({"metric": "shininess"}, "Of the link, measure 'shininess' cannot be read and is left out."),
        ({"head": "nine", "component": "-1"}, "head 'nine', component '-1' cannot be read and are left out."),
        ({"names": "0.1.0=speech~here=there"}, "name 'here=there' cannot be read"),
        ({"head": "9" * 5000}, "…"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_named(workspace, link, said):
    session = Session(owner="me")
    told = links.applied(session, link)
    assert said in told
    assert bool(told) == bool(said)
    assert len(told) < 200
    if "names" in link:
        assert session.names == {(0, 1, 0): "speech"}


def test_a_pair_that_cannot_be_is_told_with_the_rest():
    session = Session(owner="me")
    with pytest.raises(SettingError, match=r"windows.*measure 'x' cannot be read"):
        links.applied(session, {"metric": "x", "windows": "1"})


def test_a_pair_beside_and_the_look_at_it_there_and_back():
    other = Recipe(pruning=Pruning("magnitude", 0.5))
    link = links.written(Session("me", look="beside", beside=other))
    assert link["beside"] == "dense=demo&method=magnitude&prune=0.5"
    there = Session("you")
    assert links.applied(there, link) == ""
    assert (there.look, there.beside) == ("beside", other)


@pytest.mark.parametrize("word", ["shiny", "dense=demo&prune=7", "prune=0.5", "dense=demo&windows=many"])
def test_a_pair_beside_that_cannot_be_is_named_and_left_out(word):
    session = Session("me")
    assert f"pair beside '{word}' cannot be read" in links.applied(session, {"beside": word})
    assert session.beside is None

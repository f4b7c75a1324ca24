"""The Learn page on tiny models: what it computes, its figures, and that its controls change what they should."""

from collections.abc import Iterator
from dataclasses import replace
from math import log
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.charts import learn as learn_charts
from app.session import state
from app.values.colours import LIGHT
from app.values.words import percent
from app.views.learn.known_figures import PAPER, measured_strategies, measured_teachers, published_shares
from app.views.learn.reference import FORMULAS, GLOSSARY, SOURCES
from app.work import lessons, open_pairs
from app.work.jobs import State
from restorelcc.artifacts.findings import Recipe
from restorelcc.compensation.constants import Constants
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress, finish
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).resolve().parents[2] / "app" / "shell" / "rerun.py")


@pytest.fixture
def page(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page, open on the stand-in."""

    def opened(recipe: Recipe) -> Iterator[Progress]:
        yield Progress("pruning", 0, 1)
        return Workspace(recipe, replace(workspace.findings, live_pruned=workspace.findings.live_dense))

    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))
    monkeypatch.setattr(lessons, "open_workspace", opened)
    monkeypatch.setattr(state, "_owner", lambda: "me")  # AppTest's stand-in for cookies holds no text.
    monkeypatch.setattr(lessons, "STEPS", 2)
    monkeypatch.setattr(lessons, "EVERY", 1)
    monkeypatch.setattr(lessons, "jobs", type(lessons.jobs)())
    for module in ("views.learn.pruning", "views.learn.training"):
        monkeypatch.setattr(f"app.{module}.jobs", lessons.jobs)
    return AppTest.from_file(MAIN, default_timeout=30).run().switch_page("../../pages/learn.py").run()


def said(page: AppTest) -> str:
    assert not page.exception
    return "\n".join(part.value for part in (*page.markdown, *page.caption))


def test_the_page_opens_with_six_steps_formulas_glossary_and_sources(page: AppTest):
    text = said(page)
    for number in range(1, 7):
        assert f"#### {number}. " in text
    assert all(f"**{term}.**" in text for term in GLOSSARY)
    assert all(f"arxiv.org/abs/{number}" in text for _, number, _ in SOURCES if number)
    assert [one.value for one in page.latex] == [f"$$\n{body}\n$$" for _, _, body, _ in FORMULAS]


def test_another_sparsity_is_pruned_and_shown(page: AppTest):
    before = said(page)
    page.select_slider(key="learn-sparsity").set_value("30 %").run()
    job = lessons.jobs.find(("learn-prune", lessons.recipe_at("30 %")))
    assert job is not None
    assert job.wait(10)
    assert job.state == State.DONE
    after = said(page.run())
    assert after != before
    assert "within noise" in after  # The stand-in for 30% is as good as the dense model.


def test_the_head_chosen_is_the_one_spoken_of(page: AppTest):
    page.selectbox(key="learn-head").select((2, 1)).run()
    assert "Components 1 to 4 of L2 H1 hold" in said(page)
    page.slider(key="learn-components").set_value(8).run()
    assert "Components 1 to 8 of L2 H1 hold **100%**" in said(page)


def test_components_put_back_are_measured(page: AppTest, workspace: Workspace):
    assert "Nothing is put back yet" in said(page)
    page.select_slider(key="learn-count").set_value(8).run()
    text = said(page)
    from app.values.picks import Picks
    from app.work.live import lane

    measured = lane.known(workspace, Picks(lessons.first_components(workspace.lost.shape, "all", (0, 0), 8)))
    assert measured is not None
    assert f"Perplexity **{measured.picked.value:.2f}**" in text


def test_two_tabs_of_one_person_do_not_give_up_what_the_other_asked(page: AppTest, monkeypatch: pytest.MonkeyPatch):
    from app.work.live import lane

    ask, askers = lane.ask, []

    def noted(workspace, picks, asker):
        askers.append(asker)
        return ask(workspace, picks, asker)

    monkeypatch.setattr(lane, "ask", noted)
    other = AppTest.from_file(MAIN, default_timeout=30).run().switch_page("../../pages/learn.py").run()
    page.run()
    assert page.session_state["studio"].owner == other.session_state["studio"].owner
    here, there = ({asker for asker in askers if tab.session_state["studio"].tab in asker} for tab in (page, other))
    assert len(here) == len(there) == 2  # the header's and that of the components put back
    assert set(askers) == here | there
    assert not here & there


def test_training_shows_what_came_back(page: AppTest, workspace: Workspace):
    page.button(key="learn-train-kl").click().run()
    job = lessons.jobs.find(lessons.training_key(workspace.recipe, "kl"))
    assert job is not None
    assert job.wait(20)
    assert job.state == State.DONE, job.error
    assert job.result.steps == (0, 1, 2)
    before, after = job.result.distance
    assert after - before == pytest.approx(job.result.closer.nats)
    assert "on evaluation text" in said(page.run())
    assert page.button(key="learn-train-kl").disabled


def test_nothing_and_twice_the_mean_fold_alike(page: AppTest):
    page.select_slider(key="learn-factor").set_value(0.0).run()
    assert "moves logits by up to **0.00**" in said(page)
    page.select_slider(key="learn-factor").set_value(2.0).run()
    assert "none was lost" in said(page)


@pytest.mark.parametrize("view", ["teachers", "teachers_nearer", "heads", "nearer", *PAPER])
def test_facts_name_their_source(page: AppTest, view: str):
    page.segmented_control(key="learn-facts").set_value(view).run()
    assert ("Feng et al.; shares computed" if view in PAPER else "Measured by us") in said(page)


def test_rules_for_heads_are_judged_by_the_text_chosen(page: AppTest):
    _, texts = measured_strategies()
    assert len(texts) == 2
    for name, judged in texts.items():
        page.segmented_control(key="learn-judge").set_value(name).run()
        assert f"{judged.tokens:,} tokens" in said(page)
        assert f"heads of largest relative error recover {percent(judged.shares['relative_error'][0])}" in said(page)
        # What the page teaches in words must be so in figures.
        assert judged.shares["relative_error"][0] < judged.shares["random"][0] < judged.shares["all_heads"][0]
        assert judged.nearer["relative_error"][0] < judged.nearer["random"][0] < judged.nearer["together_dense"][0]


def test_the_teachers_words_hold_for_its_figures(page: AppTest):
    _, judged = measured_teachers()
    page.segmented_control(key="learn-facts").set_value("teachers_nearer").run()
    assert f"training towards it {percent(judged.nearer['kl_given'][0])}" in said(page)
    # "The other way round": most likelihood, least distance.
    assert judged.shares["ce_given"][0] > judged.shares["kl_given"][0]
    assert judged.nearer["ce_given"][0] < judged.nearer["kl_given"][0]


# --- what is behind it ------------------------------------------------------------------------------------------


def test_bias_and_hook_agree_and_no_zero_is_lost(pair: ModelPair, workspace: Workspace, tokens: Tokens):
    check = lessons.check_merge(pair, workspace.lost, 3.0, tokens.ids[0])
    assert check.change > 0.01
    assert check.difference < 1e-4
    assert check.zeros[0] == check.zeros[1] == measure_sparsity(pair.pruned).zeros
    assert check.bias_numbers == pair.geometry.n_layers * pair.geometry.d_model
    assert pair.pruned.model.layers[0].self_attn.o_proj.bias is None


def test_a_constant_holds_what_the_mean_holds(workspace: Workspace):
    share = lessons.constant_share(workspace)
    # By Eq. 4, with all components: Σ α_i² over the energy.
    expected = workspace.lost.magnitude.square().sum(-1) / workspace.findings.statistics.lost_energy
    torch.testing.assert_close(share, expected)
    assert bool(((share >= 0) & (share <= 1)).all())


def test_the_plane_holds_the_first_two_components(workspace: Workspace):
    plane = lessons.plane(workspace, (1, 2))
    lost = workspace.findings.statistics.samples.lost[1, 2].double()
    along = lost @ workspace.lost.directions[1, 2, :2].T
    torch.testing.assert_close(plane.dense - plane.pruned, along)
    assert plane.held == pytest.approx(float(along.square().sum() / lost.square().sum()), rel=1e-4)


@pytest.mark.parametrize(("scope", "heads"), [("head", 1), ("shallow", 8), ("all", 12)])
def test_components_of_a_scope(scope: str, heads: int):
    chosen = lessons.first_components((3, 4, 8), scope, (2, 1), 5)
    assert len(chosen.heads) == heads
    assert len(chosen) == 5 * heads
    assert len(lessons.first_components((3, 4, 8), scope, (2, 1), 0)) == 0


def test_the_usual_sparsity_is_the_embedded_pair():
    assert lessons.recipe_at("60 %") == Recipe()
    assert lessons.recipe_at("2:4").pruning.pattern == "2:4"
    assert len({lessons.recipe_at(label) for label in lessons.SPARSITIES}) == len(lessons.SPARSITIES)


def test_published_shares_are_those_that_the_perplexities_give():
    shares = dict(published_shares("Wanda 50 %"))
    assert shares["RestoreLCC"] == pytest.approx((log(7.26) - log(6.93)) / (log(7.26) - log(5.68)))
    assert shares["LoFiT"] < 0


@pytest.mark.parametrize("loss", ["kl", "ce"])
def test_a_training_that_is_stopped_leaves_the_pair_alone(workspace: Workspace, loss: str):
    job = lessons.training_job(workspace, loss, "me")
    lessons.jobs.cancel(job, "me")
    assert job.wait(20)
    assert job.state in (State.CANCELLED, State.DONE)


def test_the_distance_to_the_dense_model_is_none_where_nothing_was_pruned(pair: ModelPair, tokens: Tokens):
    nothing = Constants.none(pair.geometry)
    same = finish(lessons.divergence(replace(pair, pruned=pair.dense), tokens, nothing))
    assert float(same.nll.abs().max()) < 1e-6
    assert bool((finish(lessons.divergence(pair, tokens, nothing)).nll[tokens.scored] > 0.01).all())


def test_figures_show_what_they_are_given(workspace: Workspace):
    energy = workspace.lost.energy[0, 0]
    bars = learn_charts.energy(energy, 3, LIGHT).data[0]
    assert list(bars.marker.color) == [LIGHT.restored] * 3 + [LIGHT.pruned] * (len(energy) - 3)
    from restorelcc.selection.scores import SCORES

    faint = learn_charts.damage_map(torch.full((3, 4), 0.01), SCORES["relative_error"], LIGHT)
    assert faint.data[0].zmax == 1.0  # The scale stays, so that little damage looks like little.
    plane = lessons.plane(workspace, (0, 0))
    mean = learn_charts.arrows(plane, LIGHT).data[-1]
    assert mean.x[1] - mean.x[0] == pytest.approx(float((plane.dense - plane.pruned).mean(0)[0]))
    shares = learn_charts.shares([("a", 0.2), ("b", -0.1)], LIGHT, marked=("a",))
    assert list(shares.data[0].marker.color) == [LIGHT.restored, LIGHT.muted]
    assert [text.strip() for text in shares.data[1].text] == ["20%", "−10%"]
    curve = learn_charts.lessons([("one", (0, 5), (3.0, 2.5))], 2.0, 3.0, LIGHT)
    assert list(curve.data[0].y) == [3.0, 2.5]
    logits = torch.arange(1000.0)
    folded = learn_charts.agreement(logits + 1, logits, logits, LIGHT, most=100).data[-1]
    assert list(folded.x) == list(folded.y)

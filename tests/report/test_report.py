"""The report: what is gathered of runs, what is plotted, and the page that comes of it."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from family_runs import GREY, make_family_run
from genprior.errors import GenpriorError
from genprior.families import FAMILIES, GANConfig
from genprior.report import write_report
from genprior.report.collect import MOST_AGES, collect, write_run_picture
from genprior.report.page import page_of
from genprior.report.record_plots import plots_of
from genprior.report.words import alarm, notes_on, scores_table, summary_table
from genprior.runs.checkpoint import trained_checkpoint
from genprior.runs.run_events import Alarm, Event, Setback
from genprior.runs.run_folder import Run, open_run
from genprior.runs.trained_prior import load_prior
from genprior.stored_files import signed
from genprior.training.optimisation import grouped
from genprior.writing import save_tensors
from reported import DIAGNOSIS, METRICS, SCORE, made_up
from tiny_run import make_tiny_run

Command = Callable[..., str]
HOSTILE = "<script>alert(1)</script> & \"quoted\" 'run' $x^2$"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_run(tmp_path_factory.mktemp("runs") / "trained")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


class _Page(HTMLParser):
    """Tags of a page with their attributes, and what was closed wrongly."""

    VOID = ("meta", "img", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _text(page: str) -> str:
    return re.sub(r"\s+", " ", "".join(_Page(page).text))


# What is gathered.


def test_training_leaves_one_picture(run: Path) -> None:
    opened = open_run(run)
    assert write_run_picture(opened, opened.config.load_data()) == run / "figures" / "samples.png"
    assert [path.name for path in (run / "figures").iterdir()] == ["samples.png"]


def test_results_are_read_from_the_folder(run: Path) -> None:
    for file, result in (("metrics.json", METRICS), ("diagnosis.json", DIAGNOSIS)):
        (run / file).write_text(result.model_dump_json())
    found = collect(run, "run")
    assert (found.metrics, found.diagnosis) == (METRICS, DIAGNOSIS)


def test_ages_show_the_latents_of_the_first_samples(run: Path) -> None:
    """The generator as it is now, kept as an age, makes what the run's own weights make."""
    (run / "history").mkdir(exist_ok=True)
    state = {
        name: x.contiguous() for name, x in grouped(trained_checkpoint(run / "checkpoint").tensors, "generator").items()
    }
    save_tensors(state, run / "history" / "48.safetensors")
    found = collect(run, "run").ages[48]
    torch.testing.assert_close(found, load_prior(run, average=False).sample(len(found)), atol=1e-5, rtol=0)


def test_first_and_last_of_many_ages_are_shown(run: Path) -> None:
    first = next((run / "history").glob("*.safetensors"))
    for images in [*range(2, 48, 2), 1000]:  # the last one is of a lost future: the checkpoint has seen 48
        shutil.copy(first, run / "history" / f"{images}.safetensors")
    found = list(collect(run, "run").ages)
    assert (found[0], found[-1], len(found)) == (0, 46, MOST_AGES)
    assert found == sorted(found)


def test_missing_files_are_told_with_the_command_that_makes_them(run: Path) -> None:
    page = page_of([collect(run, "run")])
    assert "Not made yet; run genprior diagnose" in _text(page)
    assert "Not made yet; run genprior evaluate" in _text(page)


@pytest.mark.parametrize("contents", ["{", "[]", "\udc80"])
def test_damaged_files_are_told(contents: str, run: Path) -> None:
    (run / "metrics.json").write_text(contents, errors="surrogateescape")
    assert "metrics.json cannot be read; make it again with genprior evaluate" in _text(page_of([collect(run, "run")]))


def test_a_config_of_other_networks_is_refused(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(signed(json.dumps({**config, "latent_size": 5})))
    with pytest.raises(GenpriorError, match="does not describe the networks"):
        collect(run, "run")


def test_runs_of_the_same_name_are_told_apart(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "elsewhere" / "run"))
    write_report([run, other], tmp_path / "both.html")
    titles = re.findall("<h3>(.*?)</h3>", (tmp_path / "both.html").read_text())
    assert set(titles) == {str(run), str(other)}


# Words.


def test_a_verdict_comes_with_evidence_remedy_signs_and_alarms() -> None:
    events: list[Event] = [
        Alarm(event="alarm", step=5, images_seen=1920, verdict="saturated", message="look"),
        Alarm(event="recovered", step=7, images_seen=2688, verdict="saturated", message="better"),
        Setback(event="rolled back", step=9, back_to=5, not_finite=("loss",)),
    ]
    page = page_of([made_up(events=events)])
    assert 'class="verdict ill">saturated<' in page
    text = _text(page)
    assert "saturated since 1,920 images seen" in text
    assert "Remedy: use the non-saturating loss" in text
    assert "saturation: factor 0.001 (since 1,920 images seen)" in text
    assert DIAGNOSIS.evidence[0] in text
    lines = [alarm(event) for event in events]
    assert lines == [
        "step 5, 1,920 images: saturated. look",
        "step 7: recovered",
        "step 9: rolled back, not finite: loss",
    ]
    assert all(line in text for line in lines)


def test_of_many_alarms_the_first_are_shown() -> None:
    events = [Setback(event="rolled back", step=i, back_to=0, not_finite=("loss",)) for i in range(20)]
    text = _text(page_of([made_up(events=events)]))
    assert "step 7: rolled back" in text
    assert "and 12 more" in text
    assert "step 8:" not in text


def test_a_healthy_run_needs_no_remedy() -> None:
    healthy = {"is_ill": False, "verdict": "healthy", "remedy": "none needed", "since_images": None}
    page = page_of([made_up(diagnosis=DIAGNOSIS.model_copy(update=healthy))])
    assert 'class="verdict good">healthy<' in page
    assert "Remedy" not in page


def test_scores_stand_beside_their_floors() -> None:
    assert scores_table(METRICS).rows == [["Frechet distance", "12.3 [11, 13.5]", "1.2 [1.1, 1.3]", "lower is better"]]


def test_scores_and_verdicts_of_an_earlier_age_are_told() -> None:
    later = made_up(images_seen=9999)
    assert notes_on(made_up(), METRICS) == METRICS.notes
    assert len(notes_on(later, METRICS)) == 2
    text = _text(page_of([later]))
    assert "The scores are from 3,840 images seen; the run was trained further since" in text
    assert "The verdict is from 3,840 images seen; the run was trained further since" in text


def test_runs_on_different_data_are_not_compared() -> None:
    other = made_up("other", environment=made_up().environment.model_copy(update={"data_sha256": "else"}))
    assert "do not compare their scores" in _text(page_of([made_up(), other]))
    assert "must not be compared" in summary_table([made_up(), other]).caption
    assert "compare" not in summary_table([made_up(), made_up("other")]).caption


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"judge": METRICS.judge.model_copy(update={"hash": "else"})}, "different judges"),
        ({"samples": 10}, "different numbers of images"),
    ],
)
def test_scores_found_differently_are_told(changes: dict[str, object], warning: str) -> None:
    assert warning in _text(page_of([made_up(), made_up("other", metrics=METRICS.model_copy(update=changes))]))


def test_scores_without_classes_are_shown_beside_others() -> None:
    judge = METRICS.judge.model_copy(update={"kind": "jigsaw", "data": "photos"})
    without = METRICS.model_copy(update={"classes": None, "modes": None, "judge": judge})
    for runs in ([made_up(metrics=without)], [made_up(), made_up("other", metrics=without)]):
        text = _text(page_of(runs))
        assert "No classes are known: the judge is features learned without labels from photos." in text
        assert "judge: features learned without labels from photos (mixed quarters put right" in text


# The page.


@pytest.mark.parametrize("count", [1, 3])
def test_a_page_needs_nothing_beside_itself(count: int) -> None:
    page = page_of([made_up(f"run {i}") for i in range(count)])
    parsed = _Page(page)
    assert not parsed.open
    assert "http" not in page
    assert not {"script", "link", "iframe"} & {tag for tag, _ in parsed.tags}
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in parsed.all("img"))
    assert not re.search(r"@import|url\((?!#)", page)


@pytest.mark.parametrize("count", [1, 3])
def test_every_figure_is_told_in_words(count: int) -> None:
    parsed = _Page(page_of([made_up(f"run {i}") for i in range(count)]))
    figures = len(parsed.all("figure"))
    labels = [attributes["aria-label"] for _, attributes in parsed.tags if attributes.get("role") == "img"]
    assert figures == len(labels) == len(parsed.all("figcaption")) == 9 * count
    assert all(labels)
    assert all(image["alt"] for image in parsed.all("img"))


def test_names_inside_drawings_are_all_different() -> None:
    names = [
        attributes["id"] for _, attributes in _Page(page_of([made_up("a"), made_up("b")])).tags if "id" in attributes
    ]
    assert len(names) > 100
    assert len(set(names)) == len(names)


def test_hostile_names_are_shown_as_they_are() -> None:
    classes = METRICS.classes.model_copy(update={"names": [HOSTILE, "one"]})
    scores = {"frechet": SCORE.model_copy(update={"title": HOSTILE})}
    metrics = METRICS.model_copy(update={"classes": classes, "scores": scores, "notes": [HOSTILE]})
    diagnosis = DIAGNOSIS.model_copy(update={"verdict": HOSTILE, "evidence": [HOSTILE]})
    config = GANConfig(data=HOSTILE, size=8)
    hostile = made_up(HOSTILE, config, metrics=metrics, diagnosis=diagnosis)
    for page in (page_of([hostile]), page_of([hostile, made_up()])):
        parsed = _Page(page)
        assert not parsed.all("script")
        assert HOSTILE in "".join(parsed.text)


def test_the_same_runs_give_the_same_page(run: Path, tmp_path: Path) -> None:
    pages = []
    for name in ("one.html", "two.html"):
        write_report([run], tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_an_empty_log_still_makes_a_page(run: Path) -> None:
    (run / "steps.jsonl").write_text("")
    assert "The run's log is empty" in _text(page_of([collect(run, "run")]))


def test_samples_that_are_not_finite_are_counted() -> None:
    samples = made_up().samples.clone()
    samples[3, 0, 0, 0] = torch.nan
    assert "1 of them are not finite" in _text(page_of([made_up(samples=samples)]))


@pytest.mark.parametrize("family", [name for name, config in FAMILIES.items() if config.CURVES])
def test_every_curve_that_a_family_declares_is_drawn(family: str, tmp_path: Path) -> None:
    made = make_family_run(tmp_path / family, family, GREY, images_seen=64)
    plots = {plot.title.lower(): plot for plot in plots_of(collect(made, family))}
    for declared in FAMILIES[family].CURVES.values():
        drawn = plots[declared.title.lower()].curves
        assert [curve.label for curve in drawn] == list(declared.labels.values())
        assert len({curve.colour for curve in drawn}) == len(drawn)


def test_points_are_drawn_as_points(make_run: Callable[..., Run]) -> None:
    page = page_of([collect(make_run().path, "points")])
    assert "Points have no classes and no scores" in _text(page)
    assert "genprior evaluate" not in _text(page)  # which refuses points
    assert "img" not in {tag for tag, _ in _Page(page).tags}


def test_scores_side_by_side_stand_beside_real_data() -> None:
    rows = {row[0]: row[1:] for row in summary_table([made_up(), made_up("other")]).rows}
    told = [cells for title, cells in rows.items() if title.startswith("Frechet distance")]
    assert len(told) == 1
    assert all("; real " in cell for cell in told[0])

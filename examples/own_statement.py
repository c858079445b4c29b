"""A statement of one's own: a function that judges measured numbers, and an entry; asked of a study that is there."""

from pathlib import Path

from genprior.stored_files import read_model
from genprior.study.measured_models import TrainingCurves
from genprior.study.study_evidence import StudyEvidence, StudyStatement, TheoryLine
from genprior.study.study_experiment import ASKED, AskedStudy, evidence_of, planned
from genprior.study.study_results import CONFIRMED, REFUTED, StudyFinding, number_of
from genprior.study.study_settings import StudySettings


def judge_few_fakes(evidence: StudyEvidence) -> StudyFinding:
    """Whether a part of the fakes makes the gradient of the saturating loss, in every seed."""
    shares = [each.effective_share[0] for each in evidence.of("saturating", TrainingCurves)]
    numbers = (number_of("effective share of the fakes, first stretch", shares, ["saturating"]),)
    outcome = CONFIRMED if max(shares) < 0.5 else REFUTED
    return StudyFinding(outcome=outcome, because=f"At first {max(shares):.0%} of the fakes count.", numbers=numbers)


FEW_FAKES = StudyStatement(
    title="Few fakes",
    claim="While the saturating loss is saturated, less than half of the fakes make its gradient.",
    theory=(TheoryLine("With the weights w = dL/da of n fakes:", "frac{(sum |w|)^2}{n sum w^2}"),),
    experiment="The effective share over the first stretch. Confirmed if it is below one half in every seed.",
    needs=(("saturating", TrainingCurves),),
    judge=judge_few_fakes,
    trained=("saturating",),  # nothing is refuted after a short training
    advice={"": "A small share is a noisy gradient: larger batches do not help much, another loss does."},
)


def main(out: Path = Path("study")) -> None:
    asked = StudySettings(data="digits", out=out)
    if (out / ASKED).is_file():  # a study of that folder, with its images and all of its seeds
        asked = read_model(out / ASKED, AskedStudy, "out").settings.model_copy(update={"out": out})
    measured = evidence_of(planned(asked))
    finding = FEW_FAKES.finding(measured)
    print(f"{finding.outcome}: {finding.because}")


if __name__ == "__main__":
    main()

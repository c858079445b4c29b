"""Statements of the report's theory, each measured: likelihood, gradient factors, the order of min and max."""

from collections.abc import Mapping, Sequence

from genprior.diagnosis.one_player import decades_fallen
from genprior.probes.collapse_rules import AGAIN, OTHER_WAY, CollapseResult
from genprior.probes.collapse_rules import CONFIRMED as HOLDS
from genprior.probes.collapse_rules import DEPENDS as VARIES
from genprior.probes.collapse_rules import REFUTED as FAILS
from genprior.probes.saturation_probe import SaturationResult
from genprior.study.measured_models import Likelihoods, LossFactors
from genprior.study.study_evidence import OWN, StudyEvidence, StudyStatement, TableOf, TheoryLine
from genprior.study.study_results import (
    CONFIRMED,
    DEPENDS,
    REFUTED,
    TOO_LITTLE,
    Outcome,
    StudyFinding,
    mean_of,
    number_of,
)

ROUNDING = 1e-12
NO_DENSITY = ("non-saturating", "glo")
FEW_PROBED = 100  # steps of G alone: fewer refute nothing
NARROW, ANOTHER = "a narrow D's", "another wide D's"
SMALLEST = 1.2e-38  # a normal number of float32: gradients below it count as this
WHEN = {0: "against the youngest G", -1: "against the trained G"}  # which of the probed ages
DECADE = 1.0  # more, by which the saturating gradient must fall
PROBED: dict[str | None, Outcome] = {HOLDS: CONFIRMED, FAILS: REFUTED, VARIES: DEPENDS}


def judge_likelihood(evidence: StudyEvidence) -> StudyFinding:
    """Glow's bits fall and hold on held-out images; GAN and GLO answer nothing."""
    glow = evidence.of("glow", Likelihoods)
    silent = {cell: evidence.of(cell, Likelihoods) for cell in NO_DENSITY}
    unit = "bits/dim"
    bits = mean_of("Glow: held-out images", [each.bits_per_dim for each in glow], ["glow"], unit)
    first = number_of("Glow: at its first steps", [each.first_bits_per_dim for each in glow], ["glow"], unit)
    numbers = (bits, first)
    answers = [cell for cell, found in silent.items() if any(each.bits_per_dim for each in found)]
    if answers:
        return StudyFinding(outcome=REFUTED, because=f"{', '.join(answers)} gave a likelihood.", numbers=numbers)
    told = (
        f"Glow needs at most {bits.text} for held-out images ({glow[0].how}), {first.text} at its "
        "first steps. The bound "
        "is that of the noise within a level; without it the likelihood is exact. GAN and GLO have no density, by "
        "construction."
    )
    falls = [sum(each.bits_per_dim) / len(each.bits_per_dim) < each.first_bits_per_dim for each in glow]
    if all(falls):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    return StudyFinding(outcome=TOO_LITTLE, because=f"{told} Training has not lowered it yet.", numbers=numbers)


def judge_factors(evidence: StudyEvidence) -> StudyFinding:
    """Autograd against closed forms; and the experiment of Arjovsky and Bottou on the trained run."""
    factors, probes = evidence.of(OWN, LossFactors), evidence.of(OWN, SaturationResult)
    off = [
        max(
            *(abs(a - b) for a, b in zip(each.saturating, each.saturating_form, strict=True)),
            *(abs(a - b) for a, b in zip(each.non_saturating, each.non_saturating_form, strict=True)),
        )
        for each in factors
    ]
    falls = {
        when: {loss: [_fall(each, when, loss) for each in probes] for loss in ("saturating", "non-saturating")}
        for when in WHEN
    }
    numbers = (
        number_of("largest difference of autograd and closed form", off, [OWN]),
        *(
            number_of(f"{WHEN[when]}: factor by which the {loss} gradient falls, powers of ten", each, [OWN])
            for when, by_loss in falls.items()
            for loss, each in by_loss.items()
        ),
    )
    if max(off) > ROUNDING:
        return StudyFinding(
            outcome=REFUTED, because=f"Autograd and closed form differ by {max(off):.2g}.", numbers=numbers
        )
    told = (
        "Autograd and closed forms agree to rounding at logits from -20 to 20. While a fresh discriminator learns "
        f"against the frozen generator, {_falls_told(falls)}. The report's derivation loses a minus sign and takes the "
        "limit at s → 1; with both mended its conclusion stands."
    )
    larger = [a - b >= DECADE for by_loss in falls.values() for a, b in zip(*by_loss.values(), strict=True)]
    if all(larger):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    on = "the discriminator: the formulas hold, but this fresh one did not get sure enough to show it"
    return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)


def judge_order(evidence: StudyEvidence) -> StudyFinding:
    """The inner problem of the probe of collapse."""
    found = evidence.of(OWN, CollapseResult)
    ends = [age.moments[-1] for each in found for age in each.inner.ages[-1:]]
    starts = [age.moments[0] for each in found for age in each.inner.ages[-1:]]
    numbers = (
        number_of(
            "variance before G descends alone (the weights themselves), over real images",
            [each.diversity for each in starts],
            [OWN],
        ),
        number_of("variance after it", [each.diversity for each in ends], [OWN]),
        *(
            [number_of("classes after it", [float(each.modes or 0) for each in ends], [OWN], is_positive=True)]
            if ends[0].modes
            else []
        ),
    )
    outcome, words = _together(found, [PROBED.get(each.inner.outcome, TOO_LITTLE) for each in found])
    on = "the age or seed of the discriminator" if outcome == DEPENDS else ""
    told = (
        f"While G descended alone against the D of the last step, the variance of its images went from "
        f"{numbers[0].mean:.2g} to {numbers[1].mean:.2g} of that of real ones.{words}"
    )
    return StudyFinding(outcome=outcome, because=told, depends_on=on, numbers=numbers)


def judge_dangers(evidence: StudyEvidence) -> StudyFinding:
    """Direction of a weak D's gradients, and whether a good G asks for a large D."""
    found = evidence.of(OWN, CollapseResult)
    ages = {"the trained G": -1, "the youngest G that was tried": 0}
    cosines = {
        (age, who): [
            each.generators[place].settled(each.sizes[0] if who == NARROW else AGAIN).weights for each in found
        ]
        for age, place in ages.items()
        for who in (NARROW, ANOTHER)
    }
    numbers = tuple(
        number_of(f"{age}: cosine of {who} gradient with a wide D's", values, [OWN])
        for (age, who), values in cosines.items()
    )
    ways = " and ".join(_ways_told(age, cosines[age, NARROW], cosines[age, ANOTHER]) for age in ages)
    outcome, words = _together(found, [PROBED.get(each.direction.outcome, TOO_LITTLE) for each in found])
    on = f"the age of the generator{' or the seed' if len(found) > 1 else ''}" if outcome == DEPENDS else ""
    outer = ", ".join(dict.fromkeys(str(each.outer.outcome) for each in found))
    told = (
        f"Against the trained G the narrow D's gradient has a cosine of {numbers[0].mean:.2f} with a wide one's, "
        f"another wide one's {numbers[1].mean:.2f}; against the youngest G that was tried {numbers[2].mean:.2f} and "
        f"{numbers[3].mean:.2f}. The narrow one's is below half of the other {ways}. Whether a good G asks for a "
        f"large D: {outer} (genprior probe collapse says why).{words}"
    )
    return StudyFinding(outcome=outcome, because=told, depends_on=on, numbers=numbers)


def _ways_told(age: str, narrow: Sequence[float], another: Sequence[float]) -> str:
    """In how many seeds a narrow D points another way than wide ones, of one age of G."""
    away = sum(a < OTHER_WAY * b for a, b in zip(narrow, another, strict=True))
    return f"in {away} of {len(narrow)} runs against {age}"


def _fall(probe: SaturationResult, when: int, loss: str) -> float:
    """Decades that a gradient fell at one age, the mean over discriminators; 0 where it is not finite.

    One that vanished altogether fell to the smallest number of float32 or below.
    """
    norms = [each.norms(loss) for each in probe.ages[when].discriminators]
    found = [decades_fallen([max(norm, SMALLEST) for norm in each]) or 0.0 for each in norms]
    return sum(found) / len(found)


def _falls_told(falls: Mapping[int, Mapping[str, Sequence[float]]]) -> str:
    told = []
    for when, by_loss in falls.items():
        steep, flat = (sum(each) / len(each) for each in by_loss.values())
        told.append(
            f"{WHEN[when]} the saturating gradient falls by a factor of 10^{steep:.1f}, the other by 10^{flat:.1f}"
        )
    return "; ".join(told)


def _together(probes: list[CollapseResult], outcomes: list[Outcome]) -> tuple[Outcome, str]:
    """The verdict of several seeds, and how far it rests on all of them.

    It is theirs where they agree, apart from those that could not tell, if these are fewer than half.
    """
    known = [each for each in outcomes if each != TOO_LITTLE]
    agreed, steps = set(known), min(each.settings.steps for each in probes)
    outcome = DEPENDS if len(agreed) > 1 else known[0] if 2 * len(known) > len(outcomes) else TOO_LITTLE
    words = f" It could be told in {len(known)} of {len(outcomes)} seeds." if len(known) < len(outcomes) else ""
    if steps < FEW_PROBED:
        words = f"{words} {steps} steps of one player alone are too few to refute anything; {FEW_PROBED} are asked for."
        outcome = TOO_LITTLE if outcome in (REFUTED, DEPENDS) else outcome
    return outcome, words


LIKELIHOOD = StudyStatement(
    title="Likelihood",
    claim="Glow maximises an exact likelihood; GAN and GLO have none.",
    theory=(
        TheoryLine(
            "Glow: a change of variables through invertible layers,",
            "log p_x(x) = log p_z(z) + sum_j log |det frac{dh_j}{dh_{j-1}}|",
        ),
        TheoryLine("counted from the image; for 8-bit images noise within a level makes it a bound."),
        TheoryLine("GAN and GLO: images fill k dimensions of n, of volume 0; there is no density.", "k < n"),
    ),
    experiment=(
        "Each is asked for the log-probability of held-out images. Confirmed if Glow answers, in each seed better than "
        "at its start, and the others cannot."
    ),
    needs=(("glow", Likelihoods), ("non-saturating", Likelihoods), ("glo", Likelihoods)),
    judge=judge_likelihood,
    advice={
        "": "Need a probability of an image? Take Glow, a mixture or flow matching. Need samples or codes? Any of them."
    },
    figures=(
        TableOf(
            "What each can answer",
            ("question", "Glow", "GAN", "GLO"),
            (
                (
                    "How probable is this image?",
                    "exactly, by a sum of log-determinants",
                    "no answer: fakes fill no volume",
                    "no answer, for the same reason",
                ),
                (
                    "Which latent makes it?",
                    "one, exactly: each layer is inverted",
                    "a search finds the nearest; most images have none",
                    "learned for the images of training; a search for others",
                ),
                (
                    "What does a new image look like?",
                    "a draw of z, through the layers backwards",
                    "a draw of z, once through G",
                    "a draw from a density that is fitted to the codes afterwards",
                ),
                (
                    "What tells whether training goes well?",
                    "the likelihood of held-out images",
                    "neither loss: both depend on the opponent",
                    "the error of reconstruction, which says nothing of samples",
                ),
            ),
            "By construction, not measured: each was made for something else.",
        ),
    ),
)
FACTORS = StudyStatement(
    title="Why the first loss saturates",
    claim=(
        "The saturating loss has the factor -s, which vanishes while D rejects fakes; the non-saturating one has s - 1."
    ),
    theory=(
        TheoryLine("With s = sigmoid(a):", "frac{d}{da} log(1 - s) = -s → 0, a → -∞"),
        TheoryLine("and", "frac{d}{da} (-log s) = s - 1 → -1, a → -∞"),
        TheoryLine("Their ratio is", "frac{1 - s}{s} = e^{-a}"),
    ),
    experiment=(
        "Autograd of the training code against these formulas, in float64; then `genprior probe "
        "saturation`. Confirmed if both agree to 1e-12 and, against the youngest and the trained G, the saturating "
        "gradient falls by ten times more than the other; mean of the fresh discriminators, in each seed."
    ),
    needs=((OWN, LossFactors), (OWN, SaturationResult)),
    judge=judge_factors,
    advice={
        "": (
            "Write losses on logits, with softplus: a sigmoid followed by a logarithm saturates again in "
            "floating point."
        )
    },
)
ORDER = StudyStatement(
    title="The order of min and max",
    claim="For a fixed D the best G maps every z to the one image that D likes most: mode collapse.",
    theory=(
        TheoryLine("The inner problem for a fixed D:", "min_G E log(1 - s(D(G(z)))) = log(1 - max_x s(D(x)))"),
        TheoryLine("The game as defined has the other order, whose only solution is p = q:", "min_G max_D V(D, G)"),
        TheoryLine("Always", "max_D min_G V ≤ min_G max_D V"),
    ),
    experiment=(
        "`genprior probe collapse`: the trained D stands still and G descends V alone. Confirmed if its images then "
        "vary less than 0.2 times as much as real ones and half as much as before, and half of the classes are gone, "
        "in each seed that can tell."
    ),
    needs=((OWN, CollapseResult),),
    judge=judge_order,
    advice={"": "Keep D answering: update it at least as often as G, and never freeze it."},
)
DANGERS = StudyStatement(
    title="The two dangers",
    claim="Beside collapse there is a second danger: a weak D whose gradients point the wrong way.",
    theory=(
        TheoryLine(
            "Directions that two discriminators give the generator's weights:",
            "cos(g_1, g_2) = frac{g_1 · g_2}{|| g_1 || || g_2 ||}",
        ),
    ),
    experiment=(
        "Fresh discriminators train alone, a quarter (narrow), once and twice as wide (wide), against the youngest G "
        "that was kept and against the trained one. Confirmed if at both ages the narrow one's cosine with the wide "
        "one is below half of that between two wide ones of different seeds. An age where these two agree by less "
        "than 0.3 does not count. Whether a good G asks for a large D is told beside it and does not enter the "
        "verdict."
    ),
    needs=((OWN, CollapseResult),),
    judge=judge_dangers,
    advice={
        "": (
            "Compare the narrow D with a wide one, and two wide ones with each other: chance alone makes gradients "
            "differ. Use a wide D where the second cosine is much the larger."
        )
    },
)

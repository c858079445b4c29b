"""An answer of the Restore room as a part of a page: pictures with their probabilities, and what is to be thought."""

import math

from genprior.restoration.result import ADVICE, VERDICTS
from genprior.restoring.restored_parts import shown_before
from genprior.studio.restore_calls import Answer
from genprior.studio.shown_pictures import figure, figures, film_uri, grid_uri, heat, note, png_uri

FILM, STRIP = 24, 32  # draws


def answer_html(answer: Answer, is_last: bool) -> str:
    """Returns the answer; while a better one is on its way it says so."""
    found = answer.found
    verdict = found.verdicts[0]
    draws = found.draws.shape[1]
    state = "" if is_last else " More draws are on their way."
    head = f"{verdict[:1].upper()}{verdict[1:]}: {VERDICTS[verdict]}. {_told(draws)}, {answer.seconds:.2f} s.{state}"
    told = note(head, "verdict") + note(f"What to do: {ADVICE[verdict]}", "advice")
    return "".join([told, figures(_pictures(answer)), _candidates(answer), _draws(answer)])


def _told(draws: int) -> str:
    return f"{draws} draws" if draws else "No draws"


def _pictures(answer: Answer) -> list[str]:
    found, before = answer.found, shown_before(answer.item)
    parts = [] if before is None else [figure(png_uri(before), "damaged", "The damaged image")]
    estimate = answer.settings.estimate or ("mean" if found.draws.shape[1] else "map")
    named = "most likely" if estimate == "map" else estimate
    parts.append(figure(png_uri(answer.finished().x), f"restored: {named}", f"The restored image, {named}"))
    deviation = found.deviation()[0]
    most = float(deviation.max())
    told = f"deviation, at most {most:.2f}"
    parts.append(figure(png_uri(heat(deviation)), told, f"Where the answer is unsure: standard {told}"))
    truth = answer.item.truth
    if truth is not None:
        parts.append(figure(png_uri(truth.clamp(0, 1)), "truth", "The image before it was damaged"))
    return parts


def _candidates(answer: Answer) -> str:
    found, parts = answer.found, []
    for place in range(int(found.candidate_counts[0])):
        probability = float(found.probabilities[0, place])
        told = f"solution {place + 1}" if math.isnan(probability) else f"{probability:.0%}"
        words = f"Candidate {place + 1}" + ("" if math.isnan(probability) else f", probability {probability:.2f}")
        parts.append(figure(png_uri(found.candidates[0, place].clamp(0, 1)), told, words, "candidate"))
    return figures(parts, "What it may be")


def _draws(answer: Answer) -> str:
    draws = answer.found.draws[0]
    if not len(draws):
        return ""
    film = figure(film_uri(draws[:FILM].clamp(0, 1)), f"{min(FILM, len(draws))} draws, one after another", kind="film")
    shown = min(STRIP, len(draws))
    strip = figure(grid_uri(draws[:STRIP].clamp(0, 1), 8), f"{shown} of {len(draws)} draws", kind="strip")
    return figures([film, strip], "Draws")


def compared_html(first: Answer, second: Answer) -> str:
    """Returns two answers in one place, with a slider that uncovers the one under the other."""
    one, two = (png_uri(answer.finished().x) for answer in (first, second))
    names = [answer.settings.run.name for answer in (first, second)]
    moved = "this.parentElement.style.setProperty('--at', this.value + '%')"
    return (
        f'<h3>Two runs compared</h3><div class="compared" style="--at: 50%">'
        f'<div class="compared-pictures"><img src="{one}" alt="Restored by the first run">'
        f'<img class="over" src="{two}" alt="Restored by the second run"></div>'
        f'<input type="range" min="0" max="100" value="50" aria-label="Share of the second run" oninput="{moved}">'
        f"</div>{note(f'Left of the line: {names[1]}. Right of it: {names[0]}.')}"
    )

"""Formulas that a browser shows by itself: a short notation to MathML, and to plain text. Imports nothing of ours.

`a_b`, `a^b`, `a_b^c`, `{...}` for groups, `frac{a}{b}`; words are names, other signs stand for themselves.
`||r||_1` is a norm, `|a|` a value without its sign; `dx`, `da`, `dL`, `dh` are differentials; `min_z`, `max_D` and
`sum_i` have what they run over below them.
"""

import re
from html import escape

TOKEN = re.compile(r"\s*(\|\||[A-Za-z]+|\d+(?:[.,]\d+)*|\S)")
MINUS, SPACE = "<mo>\u2212</mo>", '<mspace width="0.2em"></mspace>'
DIFFERENTIALS = ("dL", "da", "dh", "dx")  # a d and a letter
LIMITS = ("min", "max", "sum")  # what they run over stands below them
FUNCTIONS = ("log", "cos", "exp")  # words between which and a number there is a space
BRACKETS = ("(", ")", "|", "||")  # which would grow with what stands between them
SIGN = '<mo form="prefix" lspace="0" rspace="0">\u2212</mo>'
NAMES = tuple(f"<mi>{name}</mi>" for name in FUNCTIONS)
LIMIT = '<mo movablelimits="false">'  # below the sign, also within a line
DIFFERENTIAL = "<mrow><mi>d</mi>"
SIGNS = {  # words that stand for a letter or sign that keyboards lack
    "beta": "\u03b2",
    "epsilon": "\u03b5",
    "gamma": "\u03b3",
    "lambda": "\u03bb",
    "nabla": "\u2207",
    "partial": "\u2202",
    "sigma": "\u03c3",
    "sum": "\u2211",
    "-": "\u2212",
    "||": "\u2016",
}


def mathml(formula: str) -> str:
    """Returns a formula as a MathML element.

    Raises:
        ValueError: A group that is not closed.

    Example:
        >>> mathml("a^2")
        '<math displaystyle="true"><msup><mi>a</mi><mn>2</mn></msup></math>'
    """
    tokens = [found[1] for found in TOKEN.finditer(formula)]
    body = _row(tokens, is_group=False)
    return f'<math displaystyle="true">{"".join(body)}</math>'


def plain(formula: str) -> str:
    """Returns a formula as a line of text.

    Example:
        >>> plain("frac{dL}{da} = -s_{i}")
        '(dL)/(da) = \u2212s_i'
    """
    text = re.sub(r"frac\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}", r"(\1)/(\2)", formula)
    text = re.sub(r"\{(\w+)\}", r"\1", text).replace("{", "(").replace("}", ")")
    return text.replace("-", SIGNS["-"]).replace("||", SIGNS["||"])


def _row(tokens: list[str], *, is_group: bool) -> list[str]:
    """The elements up to the end, or up to the brace that closes a group; takes its tokens from the list."""
    elements: list[str] = []
    while tokens:
        if tokens[0] == "}" and is_group:
            tokens.pop(0)
            return elements
        before = elements[-1] if elements else "<mo>"
        element = _with_scripts(_element(tokens), tokens)
        if element == MINUS and before.startswith("<mo"):
            element = SIGN  # a sign, not a difference
        elif (before in NAMES and element.startswith("<mn")) or (elements and element.startswith(DIFFERENTIAL)):
            elements.append(SPACE)
        elif not before.startswith("<mo") and element.startswith(("<mi", "<msub><mi", "<msup><mi", "<msubsup><mi")):
            elements.append(SPACE)  # names side by side are a product, or a function and what it is of
        elements.append(element)
    if is_group:
        raise ValueError("a group of the formula is not closed")
    return elements


def _element(tokens: list[str]) -> str:
    token = tokens.pop(0)
    if token == "{":
        return f"<mrow>{''.join(_row(tokens, is_group=True))}</mrow>"
    if token == "frac":
        return f"<mfrac>{_element(tokens)}{_element(tokens)}</mfrac>"
    if token in DIFFERENTIALS:
        return f"{DIFFERENTIAL}<mi>{token[1:]}</mi></mrow>"
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    if token in BRACKETS:
        return f'<mo stretchy="false">{SIGNS.get(token, token)}</mo>'
    if token in LIMITS:
        return f"{LIMIT}{SIGNS.get(token, token)}</mo>"
    kind = "mi" if token.isalpha() else "mo"
    return f"<{kind}>{SIGNS.get(token, escape(token))}</{kind}>"


def _with_scripts(base: str, tokens: list[str]) -> str:
    scripts: dict[str, str] = {}
    while tokens and tokens[0] in ("_", "^"):
        sign = tokens.pop(0)
        scripts[sign] = _element(tokens)
    if base.startswith(LIMIT) and scripts:
        below, above = scripts.get("_", ""), scripts.get("^", "")
        kind = "munderover" if below and above else "munder" if below else "mover"
        return f"<{kind}>{base}{below}{above}</{kind}>"
    if len(scripts) == 2:
        return f"<msubsup>{base}{scripts['_']}{scripts['^']}</msubsup>"
    if "_" in scripts:
        return f"<msub>{base}{scripts['_']}</msub>"
    return f"<msup>{base}{scripts['^']}</msup>" if scripts else base

"""Names of elements and attributes: which exist, how they are written, what may be in them.

A name that passes `check_tag` or `attribute_name` is well-formed in XML and means the same to an HTML parser (which
lowers the case of names, except for the SVG names listed here). Nothing here knows the tree.
"""

from __future__ import annotations

import re
from functools import lru_cache

XHTML_NAMESPACE = "http://www.w3.org/1999/xhtml"
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
MATHML_NAMESPACE = "http://www.w3.org/1998/Math/MathML"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAX_NAME_LENGTH = 100
"""Longest name of an element or an attribute, in characters."""

HTML_ELEMENTS = _words(
    """
    a abbr address area article aside audio b base bdi bdo blockquote body br button canvas caption cite code
    col colgroup data datalist dd del details dfn dialog div dl dt em embed fieldset figcaption figure footer
    form h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins kbd label legend li link main map
    mark menu meta meter nav noscript object ol optgroup option output p picture pre progress q rp rt ruby s
    samp script search section select slot small source span strong style sub summary sup table tbody td
    template textarea tfoot th thead time title tr track u ul var video wbr
    """
)
"""Every element of the HTML living standard."""

VOID_ELEMENTS = _words("area base br col embed hr img input link meta source track wbr")
"""Elements without content or end tag (HTML §13.1.2)."""

SPECIAL_ELEMENTS = VOID_ELEMENTS | _words("html svg math script style pre title textarea iframe")
"""Elements that are not written as a start tag, children and an end tag; see `framework.xhtml.serialise.tags_of`."""

REFUSED_ELEMENTS = _words("plaintext xmp listing noembed noframes frameset frame")
"""Obsolete elements whose content an HTML parser reads by rules of its own; XML cannot say the same."""

SVG_ELEMENTS = _words(
    """
    a animate animateMotion animateTransform circle clipPath defs desc ellipse feBlend feColorMatrix
    feComponentTransfer feComposite feConvolveMatrix feDiffuseLighting feDisplacementMap feDistantLight
    feDropShadow feFlood feFuncA feFuncB feFuncG feFuncR feGaussianBlur feImage feMerge feMergeNode feMorphology
    feOffset fePointLight feSpecularLighting feSpotLight feTile feTurbulence filter foreignObject g image line
    linearGradient marker mask metadata mpath path pattern polygon polyline radialGradient rect script set stop
    style svg switch symbol text textPath title tspan use view
    """
)

MATHML_ELEMENTS = _words(
    """
    annotation annotation-xml maction math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom
    mprescripts mroot mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none
    semantics
    """
)

KNOWN_ELEMENTS = HTML_ELEMENTS | SVG_ELEMENTS | MATHML_ELEMENTS

_CASED_ELEMENTS = frozenset(name for name in SVG_ELEMENTS if not name.islower())

_CASED_ATTRIBUTES = {
    name.lower(): name
    for name in _words(
        """
    attributeName attributeType baseFrequency baseProfile calcMode clipPathUnits diffuseConstant edgeMode
    filterUnits glyphRef gradientTransform gradientUnits kernelMatrix kernelUnitLength keyPoints keySplines
    keyTimes lengthAdjust limitingConeAngle markerHeight markerUnits markerWidth maskContentUnits maskUnits
    numOctaves pathLength patternContentUnits patternTransform patternUnits pointsAtX pointsAtY pointsAtZ
    preserveAlpha preserveAspectRatio primitiveUnits refX refY repeatCount repeatDur requiredExtensions
    requiredFeatures specularConstant specularExponent spreadMethod startOffset stdDeviation stitchTiles
    surfaceScale systemLanguage tableValues targetX targetY textLength viewBox viewTarget xChannelSelector
    yChannelSelector zoomAndPan
    """
    )
}
"""SVG attributes whose case an HTML parser restores (HTML §13.2.6.1)."""

URL_ATTRIBUTES = _words("href src action formaction cite poster data background manifest longdesc")
"""Attributes that hold one URL."""

ANIMATED_ATTRIBUTES = _words("to from by values")
"""SVG animation can set a link's target from these, so a script URL is refused in them as well."""

TRUE_FALSE_ATTRIBUTES = _words("contenteditable draggable spellcheck writingsuggestions")
"""Attributes that write out "true" and "false", as all of `aria-…` do, where others are there or not there."""

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[.-][A-Za-z0-9._-]*)?\Z")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
_COLON_ATTRIBUTES = frozenset(["xml:lang", "xml:space"])


@lru_cache(maxsize=1024)
def check_tag(tag: str) -> bool:
    """Return True for a name that can be written; raise ValueError, with the nearest right way, for another."""
    if tag in KNOWN_ELEMENTS:
        return True
    if len(tag) > MAX_NAME_LENGTH or not _TAG.match(tag):
        raise ValueError(f"{tag[:MAX_NAME_LENGTH]!r} is not the name of an element")
    if tag.lower() in REFUSED_ELEMENTS:
        raise ValueError(f"<{tag}> is obsolete and means different things in HTML and XML; use <pre> or <iframe>")
    if not tag.islower() and tag not in _CASED_ELEMENTS:
        raise ValueError(f"<{tag}> would become <{tag.lower()}> in HTML; write it in lower case")
    return True


@lru_cache(maxsize=2048)
def attribute_name(keyword: str) -> str:
    """The attribute that a keyword argument stands for: `class_` → class, `data_x` → data-x, `viewBox` → viewBox.

    Raises ValueError for what is no attribute name, or would not be the same in HTML and XML.
    """
    name = keyword.rstrip("_").replace("_", "-")
    if name in _COLON_ATTRIBUTES:
        return name
    if len(name) > MAX_NAME_LENGTH or not _ATTRIBUTE.match(name):
        raise ValueError(f"{keyword[:MAX_NAME_LENGTH]!r} is not the name of an attribute")
    if not name.islower() and _CASED_ATTRIBUTES.get(name.lower()) != name:
        proper = _CASED_ATTRIBUTES.get(name.lower(), name.lower())
        raise ValueError(f"the attribute {name!r} would change its case in HTML; write {proper!r}")
    if name in _CASED_ATTRIBUTES:
        raise ValueError(f"the attribute {name!r} would change its case in HTML; write {_CASED_ATTRIBUTES[name]!r}")
    if name == "xmlns":
        raise ValueError("xmlns is written by itself, on html, svg and math")
    return name

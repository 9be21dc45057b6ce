"""The content model of the HTML living standard as data: what may stand where, and which attributes there are.

Imported only by `framework.xhtml.check`. The source of each table is the section named beside it.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# HTML §3.2.5.2
PHRASING = _words(
    """
    a abbr area audio b bdi bdo br button canvas cite code data datalist del dfn em embed i iframe img input ins kbd
    label link map mark math meta meter noscript object output picture progress q ruby s samp script select slot small
    span strong sub sup svg template textarea time u var video wbr
    """
)
FLOW = PHRASING | _words(
    """
    address article aside blockquote details dialog div dl fieldset figure footer form h1 h2 h3 h4 h5 h6 header hgroup
    hr main menu nav ol p pre search section table ul
    """
)
METADATA = _words("base link meta noscript script style template title")
HEADINGS = _words("h1 h2 h3 h4 h5 h6 hgroup")
SECTIONING = _words("article aside nav section")
ANYWHERE = _words("script template")
"""Script-supporting elements stand wherever elements may."""

TRANSPARENT = _words("a audio canvas del ins map noscript object slot video")
"""Elements that may hold what their parent may."""

TEXT_ONLY = _words("title textarea option script style")
NOTHING = frozenset[str]()

_flow_containers = """
    address article aside blockquote body dd dialog div dt footer form header li main nav search section td th
    figcaption
"""
_phrasing_containers = """
    abbr b bdi bdo button cite code data dfn em h1 h2 h3 h4 h5 h6 i kbd label mark meter output p pre progress q rp rt
    s samp small span strong sub sup time u var
"""

CHILDREN: dict[str, frozenset[str]] = {
    **dict.fromkeys(_flow_containers.split(), FLOW),
    **dict.fromkeys(_phrasing_containers.split(), PHRASING),
    "html": _words("head body"),
    "head": METADATA,
    "ul": _words("li"),
    "ol": _words("li"),
    "menu": _words("li"),
    "dl": _words("dt dd div"),
    "table": _words("caption colgroup thead tbody tfoot tr"),
    "caption": FLOW - {"table"},
    "colgroup": _words("col"),
    "thead": _words("tr"),
    "tbody": _words("tr"),
    "tfoot": _words("tr"),
    "tr": _words("td th"),
    "select": _words("option optgroup hr button"),
    "optgroup": _words("option legend"),
    "datalist": PHRASING | {"option"},
    "fieldset": FLOW | {"legend"},
    "legend": PHRASING | HEADINGS,
    "details": FLOW | {"summary"},
    "summary": PHRASING | HEADINGS,
    "figure": FLOW | {"figcaption"},
    "picture": _words("source img"),
    "ruby": PHRASING | {"rt", "rp"},
    "hgroup": _words("p h1 h2 h3 h4 h5 h6"),
    "iframe": NOTHING,
    **dict.fromkeys(TEXT_ONLY, NOTHING),
}
"""The elements that may be children, for each element whose content does not depend on its parent (HTML §4)."""

EXTRA_CHILDREN = {"video": _words("source track"), "audio": _words("source track"), "map": _words("area")}
"""What transparent elements may hold besides."""

WITHOUT_TEXT = _words(
    "html head ul ol menu dl table colgroup thead tbody tfoot tr select optgroup picture hgroup iframe datalist-only"
)
"""Elements in which text other than white space has no place."""

EXCLUDED: dict[str, frozenset[str]] = {
    "a": _words("a button details embed iframe input label select textarea"),
    "button": _words("a button details embed iframe input label select textarea"),
    "form": _words("form"),
    "label": _words("label"),
    "dfn": _words("dfn"),
    "meter": _words("meter"),
    "progress": _words("progress"),
    "header": _words("header footer main"),
    "footer": _words("header footer main"),
    "address": _words("header footer address article aside nav section h1 h2 h3 h4 h5 h6 hgroup"),
    "th": _words("header footer article aside nav section h1 h2 h3 h4 h5 h6 hgroup"),
    "dt": _words("header footer article aside nav section h1 h2 h3 h4 h5 h6 hgroup"),
    "article": _words("main"),
    "aside": _words("main"),
    "nav": _words("main"),
    "section": NOTHING,
    "audio": _words("audio video"),
    "video": _words("audio video"),
}
"""What may not stand anywhere within an element."""

OBSOLETE: dict[str, str] = {
    "acronym": "abbr",
    "applet": "object",
    "basefont": "a style sheet",
    "big": "a style sheet",
    "center": "a style sheet",
    "dir": "ul",
    "font": "a style sheet",
    "marquee": "a style sheet",
    "strike": "s or del",
    "tt": "code",
}

# HTML §3.2.6
GLOBAL_ATTRIBUTES = _words(
    """
    accesskey autocapitalize autocorrect autofocus class contenteditable dir draggable enterkeyhint hidden id inert
    inputmode is itemid itemprop itemref itemscope itemtype lang nonce part popover role slot spellcheck style
    tabindex title translate writingsuggestions xml:lang xml:space exportparts
    """
)
_embedded = "height width src"
_popover = "popovertarget popovertargetaction command commandfor"
_form_sending = "formaction formenctype formmethod formnovalidate formtarget"
_cell = "colspan rowspan headers"

ATTRIBUTES: dict[str, frozenset[str]] = {
    tag: _words(text)
    for tag, text in {
        "a": "download href hreflang ping referrerpolicy rel target type",
        "area": "alt coords download href ping referrerpolicy rel shape target",
        "audio": "autoplay controls crossorigin loop muted preload src",
        "base": "href target",
        "bdo": "dir",
        "blockquote": "cite",
        "button": f"disabled form name type value {_form_sending} {_popover}",
        "canvas": "height width",
        "col": "span",
        "colgroup": "span",
        "data": "value",
        "del": "cite datetime",
        "details": "name open",
        "dialog": "open closedby",
        "embed": f"type {_embedded}",
        "fieldset": "disabled form name",
        "form": "accept-charset action autocomplete enctype method name novalidate rel target",
        "html": "manifest",
        "iframe": f"allow allowfullscreen loading name referrerpolicy sandbox srcdoc {_embedded}",
        "img": f"alt crossorigin decoding fetchpriority ismap loading referrerpolicy sizes srcset usemap {_embedded}",
        "input": f"""accept alpha alt autocomplete capture checked colorspace dirname disabled form list max maxlength
            min minlength multiple name pattern placeholder readonly required size step type value
            {_embedded} {_form_sending} {_popover}""",
        "ins": "cite datetime",
        "label": "for",
        "li": "value",
        "link": """as blocking color crossorigin disabled fetchpriority href hreflang imagesizes imagesrcset integrity
            media referrerpolicy rel sizes type""",
        "map": "name",
        "meta": "charset content http-equiv media name property",
        "meter": "high low max min optimum value",
        "object": "data form height name type width",
        "ol": "reversed start type",
        "optgroup": "disabled label",
        "option": "disabled label selected value",
        "output": "for form name",
        "progress": "max value",
        "q": "cite",
        "script": "async blocking crossorigin defer fetchpriority integrity nomodule referrerpolicy src type",
        "select": "autocomplete disabled form multiple name required size",
        "slot": "name",
        "source": "height media sizes src srcset type width",
        "style": "blocking media",
        "td": _cell,
        "template": "shadowrootmode shadowrootdelegatesfocus shadowrootclonable shadowrootserializable",
        "textarea": """autocomplete cols dirname disabled form maxlength minlength name placeholder readonly required
            rows wrap""",
        "th": f"abbr scope {_cell}",
        "time": "datetime",
        "track": "default kind label src srclang",
        "video": f"autoplay controls crossorigin loop muted playsinline poster preload {_embedded}",
    }.items()
}
"""The attributes of each element besides the global ones."""

_lines = "text search url tel email password"
_times = "date month week time datetime-local"
INPUT_TYPES: dict[str, frozenset[str]] = {
    name: _words(types)
    for name, types in {
        "accept": "file",
        "alt": "image",
        "capture": "file",
        "checked": "checkbox radio",
        "height": "image",
        "list": f"text search url tel email {_times} number range color",
        "max": f"{_times} number range",
        "maxlength": _lines,
        "min": f"{_times} number range",
        "minlength": _lines,
        "multiple": "email file",
        "pattern": _lines,
        "placeholder": f"{_lines} number",
        "readonly": f"{_lines} {_times} number",
        "required": f"{_lines} {_times} number checkbox radio file",
        "size": _lines,
        "src": "image",
        "step": f"{_times} number range",
        "width": "image",
    }.items()
}
"""The types of <input> that an attribute applies to (HTML §4.10.5); others apply to all, or to all but few."""

# WAI-ARIA 1.2 §6
ARIA_ATTRIBUTES = frozenset(
    f"aria-{name}"
    for name in _words(
        """
        activedescendant atomic autocomplete braillelabel brailleroledescription busy checked colcount colindex
        colindextext colspan controls current describedby description details disabled dropeffect errormessage expanded
        flowto grabbed haspopup hidden invalid keyshortcuts label labelledby level live modal multiline multiselectable
        orientation owns placeholder posinset pressed readonly relevant required roledescription rowcount rowindex
        rowindextext rowspan selected setsize sort valuemax valuemin valuenow valuetext
        """
    )
)

REFERENCES = _words(
    """
    for aria-labelledby aria-describedby aria-controls aria-owns aria-details headers list form popovertarget
    """
)
"""Attributes that hold ids of other elements."""

UNLABELLED_INPUTS = _words("hidden submit reset button image")
"""Types of input that need no <label>."""

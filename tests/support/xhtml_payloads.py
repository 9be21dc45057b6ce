"""Texts that attack a page, and a page that has one of them in every place that text can come to."""

from __future__ import annotations

from framework.xhtml import Document, Element

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "--!><script>alert(1)</script>",
    "-->",
    "<!--",
    "<![CDATA[<script>alert(1)</script>]]>",
    "]]><script>alert(1)</script>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " \t\n javascript:alert(1)",
    "java\nscript:alert(1)",
    "java\tscript:alert(1)",
    "\x01javascript:alert(1)",
    "javascript&colon;alert(1)",
    "&#106;avascript:alert(1)",
    "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "` onload=alert(1)",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<a href=javascript:alert(1)>x</a>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "\u2028alert(1)\u2029",
    "{{constructor.constructor('alert(1)')()}}",
    "\ud800<script>alert(1)</script>",
    "\x00<script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<?xml-stylesheet href='javascript:alert(1)'?>",
    "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>&a;",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
]


def page_with(payload: str) -> Document:
    """A page with the same text in every place that text can come to."""
    page = Document(payload, description=payload)
    page.head.add_data("data", {payload: [payload]})
    page.head.add_meta("keywords", payload)
    page.head.add_icon(payload)
    body = page.body
    body.add_heading(1, payload)
    body.add_comment(payload)
    body.add(
        "p",
        payload,
        title=payload,
        class_=payload,
        data_x=payload,
        role="note",
        aria_label=payload,
        style={"width": payload},
    )
    body.add("pre", payload)
    body.add_anchor(payload, payload)
    body.add_navigation([(payload, payload)], label=payload, current=payload)
    body.add_image(payload, payload)
    body.add_list([payload, [payload]])
    body.add_definition_list({payload: payload})
    body.add_details(payload, payload)
    body.add_progress(payload, 0.5)
    body.add_status(payload)
    body.add_figure(payload, payload)
    body.add_table(
        [(payload, payload)],
        headings=(payload, payload),
        caption=payload,
        footers=[payload],
        row_class=str,
        row_id=str,
        row_header=0,
    )
    body.add_table([{payload: payload}])
    body.add_line_chart({payload: [1, 2]}, label=payload, unit=payload, start=payload, end=payload)
    body.add_bar_chart({payload: 1}, label=payload, unit=payload)
    body.add_sparkline([1], label=payload)
    form = body.add_form(payload, values={"a": payload, "t": payload}, errors={"a": payload, payload: payload})
    form.add_text("a", payload, help=payload, placeholder=payload)
    form.add_textarea("t", payload)
    form.add_select("s", payload, {payload: [(payload, payload)]}, payload)
    form.add_radio_group(payload, payload, [payload])
    form.add_checkbox(payload, payload)
    form.add_hidden(payload, payload)
    form.add_error_summary()
    form.add_submit(payload, name=payload, value=payload, formaction=payload)
    drawing = body.add("svg", Element("title", payload), Element("style", payload))
    drawing.add("a", Element("set", attributeName="href", to=payload), href=payload)
    body.add("meta", http_equiv="refresh", content=f"0;url={payload}")
    return page

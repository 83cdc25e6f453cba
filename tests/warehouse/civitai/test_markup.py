"""Descriptions: nothing that runs survives, and nothing that is read gets lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.civitai import html_to_text, markup, sanitise_html
from warehouse.civitai.markup import looks_like_html


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href="jAvAsCrIpT&colon;alert(1)">x</a>',
        '<a href="data:text/html;base64,AAAA">x</a>',
        '<img src="data:image/svg+xml,<svg onload=alert(1)>">',
        '<p style="background:url(javascript:alert(1))">x</p>',
        "<style>body{display:none}</style>",
        "<iframe src='https://evil.example'></iframe>",
        "<svg><script>alert(1)</script></svg>",
        "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
        "<form action='https://evil.example'><input></form>",
        "<!-- <script>alert(1)</script> -->",
        "<scr<script>ipt>alert(1)</script>",
        "<p onclick=alert(1) id=x class=y>x</p>",
    ],
)
def test_nothing_hostile_survives(hostile: str) -> None:
    cleaned = (sanitise_html(f"<p>before</p>{hostile}<p>after</p>") or "").lower()
    assert "before" in cleaned
    for forbidden in ("<script", "javascript:", "data:", "onerror", "onload", "onclick", "<style", "style=", "<iframe"):
        assert forbidden not in cleaned
    for forbidden in ("<svg", "<form", "<!--", "class=", " id="):
        assert forbidden not in cleaned


def test_links_and_images_are_kept_and_marked() -> None:
    cleaned = sanitise_html('<a href="https://x.example" target="_blank">x</a><img src="https://x.example/i.png">')
    assert cleaned == '<a href="https://x.example" rel="nofollow noopener">x</a><img src="https://x.example/i.png">'


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one</p><p>two</p>", "one\ntwo"),
        ("<h1>Head</h1>text<br>more<br><br>end", "Head\ntext\nmore\nend"),
        ("<ul><li>a</li><li><p>b</p></li></ul>", "- a\n- b"),
        ("<ul><li>\n <p>a</p></li><li><b><p>b</p></b></li></ul>", "- a\n-\nb"),
        ('<p><a href="https://x.example" title="1<2">x</a> <img alt="2>1" src="https://x.example/i">y</p>', "x y"),
        ("<p>Tom &amp; Jerry &lt;3&nbsp;!</p>", "Tom & Jerry <3 !"),
        ("<p>a\n  b</p>", "a b"),
        ("<p>夜の<strong>提灯</strong>🏮</p>", "夜の提灯🏮"),
        ("<table><tbody><tr><td>a</td><td>b</td></tr></tbody></table>", "a b"),
        ("<pre>1 &lt; 2</pre>", "1 < 2"),
        ("<p>ze\u200bro \x07width</p>", "zero width"),
        ("<p>👩\u200d🚀</p>", "👩\u200d🚀"),
        ("<p> <br></p>", None),
        ("", None),
    ],
)
def test_text(html: str, text: str | None) -> None:
    cleaned = sanitise_html(html)
    assert (html_to_text(cleaned) if cleaned else None) == text


def test_both_are_bounded() -> None:
    cleaned = sanitise_html("<p>" + "word " * 1_000_000)
    assert cleaned is not None
    assert len(cleaned) < 600_000
    assert len(html_to_text(cleaned) or "") <= 100_000


@pytest.mark.parametrize(
    "unit", ["<", "<a ", "&", "<p>", "<li", "<div>", "<ul><li>", "<div></x>", "<table><div></b>", "<b><p>"]
)
def test_hostile_repetition_is_read(unit: str) -> None:
    cleaned = sanitise_html(unit * (300_000 // len(unit)) + "<p>end</p>")
    assert cleaned is None or isinstance(html_to_text(cleaned), str | None)


def test_markup_nested_beyond_reason_is_reduced_to_its_text() -> None:
    assert html_to_text(sanitise_html("<div>" * 1000 + "deep &lt;b&gt;" + "</div>" * 1000) or "") == "deep <b>"
    fine = "<div><p>a</p><br></div>" * 1000
    assert (sanitise_html(fine) or "").count("<div>") == 1000


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    cleaned = sanitise_html(text)
    if cleaned is not None:
        assert sanitise_html(cleaned) == cleaned
        html_to_text(cleaned)


def test_a_token_of_a_prompt_is_text_and_no_element() -> None:
    html = sanitise_html("<p>Use <lora:knit:0.8> with <LYCO:b:1></p>")
    assert html == "<p>Use &lt;lora:knit:0.8&gt; with &lt;LYCO:b:1&gt;</p>"
    assert html_to_text(html) == "Use <lora:knit:0.8> with <LYCO:b:1>"


@pytest.mark.parametrize("text", ["a <desc>\nb", "<lora:a:1>", "1 < 2", "<ohwx man>", "<name>", "<preset>"])
def test_angle_brackets_alone_are_no_html(text: str) -> None:
    assert not looks_like_html(text)


@pytest.mark.parametrize("text", ["<p>a", "a<br>b", "<BR/>", '<a href="x">y</a>', "<script>x</script>", "</div>"])
def test_elements_are_html(text: str) -> None:
    assert looks_like_html(text)


_TEXTS = st.sampled_from(
    [
        "a",
        "x\ny",
        " ",
        "\n",
        "\t",
        "é",
        "\xa0",
        "'",
        '"',
        "=",
        "&",
        "&amp;",
        "&lt;",
        "&nbsp;",
        "&quot;",
        "&#39;",
        "&mdash;",
    ]
)
_LINKS = st.builds(
    lambda before, scheme, host, rest, after, text: f'<a{before} href="{scheme}{host}{rest}"{after}>{text}</a>',
    st.sampled_from(["", ' target="_blank"', ' rel="ugc"', ' target="_blank" rel="ugc"', " onclick=x", ' title="x"']),
    st.sampled_from(["https://", "http://", "http:", "HTTP://", "javascript:", ""]),
    st.sampled_from(
        [
            "a.example",
            "b-c.d.example",
            "localhost",
            "1.2.3.0x1",
            "256.256.256.256",
            "xn--a.example",
            "-a.example",
            "a..b",
            "a.example:99999",
            "[a",
            "x y.example",
            "é.example",
            "A.example",
            "a.example.",
            "a@b.example",
            "&quot;.example",
        ]
    ),
    st.sampled_from(
        ["", "/", "/x?y=1&amp;z=2#a", "/x?y=1&z=2", "/%zz", "/&quot;", "/&lt;x", "/'", "/ x", "/\\", "/é", ":8/x"]
    ),
    st.sampled_from(["", ' rel="nofollow"', ' rel="a>b"', ' title="<p>"']),
    st.sampled_from(["", "x", "a &quot;b&quot;", "<strong>x</strong>", "<a>x</a>", "x<br>"]),
)
_MARKUP = st.recursive(
    st.one_of(_TEXTS, _LINKS, st.sampled_from(["<br>", "<hr>", "<br/>", "</p>", "<", ">", "<x>", "<script>"])),
    lambda inner: st.builds(
        lambda name, parts, attribute: f"<{name}{attribute}>{''.join(parts)}</{name}>",
        st.sampled_from(
            ["p", "ul", "ol", "li", "h1", "h3", "strong", "em", "b", "code", "a", "div", "script", "style"]
        ),
        st.lists(inner, max_size=3),
        st.sampled_from(["", "", "", "", " onclick=x", ' href="javascript:x"']),
    ),
    max_leaves=8,
)


@given(st.lists(_MARKUP, max_size=4).map("".join))
@settings(max_examples=1_000, deadline=None)
def test_what_is_taken_as_it_stands_is_what_the_cleaner_gives(text: str) -> None:
    """A part of the markup is recognised as clean without parsing it: it must be a fixed point of the parser."""
    assert (sanitise_html(text) or "") == markup._CLEANER.clean(text).strip()


@pytest.mark.parametrize(
    "text",
    [
        "<p>One</p><p>Two &amp; three<br>four</p>",
        "<h3>How</h3><ul><li><p>A <strong>word</strong></p></li><li>plain</li></ul>\n<hr>",
        '<p>A <a target="_blank" rel="ugc" href="https://a.example/models/1?a=b&amp;c=d">A</a> of &quot;x&quot;</p>',
    ],
)
def test_what_editors_write_is_recognised(text: str) -> None:
    assert markup._is_plain(text)


@pytest.mark.parametrize(
    "unit",
    [
        "<p>",
        "<ul><li>",
        "<ul> ",
        "a&",
        "&amp;",
        "<strong>x",
        "<p><strong>a</strong>",
        '<a href="https://a.a',
        "<p><a rel=",
    ],
)
def test_recognising_is_linear(unit: str) -> None:
    """Backtracking would take longer than the test may."""
    assert not markup._is_plain(unit * 30_000 + "<")

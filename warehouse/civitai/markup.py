"""Untrusted HTML descriptions: sanitised for display, and as plain text for search and embedding."""

import html
import re
from collections.abc import Iterable
from typing import Final

import nh3

from warehouse.civitai.names import strip_invisible

MAX_HTML_CHARACTERS: Final = 300_000
"""Of a description; real ones stay below 100,000."""
MAX_DEPTH: Final = 200
"""Of nested elements. Parsing is quadratic in the depth: 100,000 nested blocks took 37 s."""
MAX_TEXT_CHARACTERS: Final = 100_000

_TAGS: Final = {
    "a", "b", "blockquote", "br", "code", "del", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img",
    "li", "ol", "p", "pre", "s", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u",
    "ul",
}  # fmt: skip
_ATTRIBUTES: Final = {"a": {"href", "title"}, "img": {"src", "alt", "title", "width", "height"}}
_CLEANER: Final = nh3.Cleaner(
    tags=_TAGS,
    clean_content_tags={"script", "style"},
    attributes=_ATTRIBUTES,
    url_schemes={"http", "https", "mailto"},
    link_rel="nofollow noopener",
    strip_comments=True,
)
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]*>")
_NAMED_TAG: Final = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
# What makes a text of unknown kind HTML; anything else in angle brackets is a person's own spelling.
_ELEMENTS: Final = _TAGS | {
    "article", "body", "center", "dd", "details", "dl", "dt", "figure", "font", "form", "head", "html", "iframe",
    "input", "link", "meta", "object", "script", "section", "small", "strike", "style", "summary", "svg", "video",
}  # fmt: skip
_ELEMENT: Final = re.compile(rf"</?(?:{'|'.join(sorted(_ELEMENTS))})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_PROMPT_TOKEN: Final = re.compile(r"<(?=(?:lora|lyco|hypernet):[^<>]*>)", re.IGNORECASE)
# Elements that hold nothing, or that the next of their kind closes: they do not nest by themselves.
_FLAT: Final = frozenset({"br", "hr", "img", "input", "p", "wbr", "li", "td", "th", "tr"})
_LINE_TAGS: Final = (
    "p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ul", "ol", "pre", "blockquote", "table", "tr",
    "thead", "tbody",
)  # fmt: skip
# What stands for a tag in plain text. After sanitising only links and images have attributes.
_SPELLED: Final[dict[str, str]] = (
    {slash + tag: "" for tag in _TAGS for slash in ("", "/")}
    | {slash + tag: "\n" for tag in _LINE_TAGS for slash in ("", "/")}
    | {"br": "\n", "hr": "\n", "li": "\n- ", "/td": " ", "/th": " "}
)

_ANY_TAG: Final = re.compile(r"<([^<>]*+)>")
_ITEM_START: Final = re.compile(r"<li>\s*+<p>")

# Markup of which it is known what the cleaner makes of it: attribute-free elements of the allow-list, closed in order
# and nested in few ways, which it gives back as they are; texts that a serialiser spells as they are but for some
# entities; and links as editors write them, to addresses that no parser refuses. The quantifiers are possessive, hence
# linear.
_ENTITIES: Final = {
    "#39": "'", "bull": "•", "copy": "©", "hellip": "…", "ldquo": "“", "lsquo": "‘", "mdash": "—", "ndash": "–",
    "quot": '"', "rdquo": "”", "rsquo": "’",
}  # fmt: skip
"""Those that a serialiser does not write, but the character itself."""
_ENTITY: Final = re.compile(rf"&({'|'.join(_ENTITIES)});")
_PLAIN_TEXT: Final = rf"[^<>&\r\xa0]++|&(?:amp|lt|gt|nbsp|{'|'.join(_ENTITIES)});"
_INLINE_NAMES: Final = ("strong", "em", "b", "i", "u", "s", "code")


def _elements(names: Iterable[str], content: str) -> str:
    return "|".join(f"<{name}>(?:{content})*+</{name}>" for name in names)


_PLAIN_INLINE: Final = f"{_PLAIN_TEXT}|<br>|{_elements(_INLINE_NAMES, _PLAIN_TEXT)}"
_PLAIN_BLOCKS: Final = _elements(("p", "h1", "h2", "h3", "h4"), _PLAIN_INLINE)
_PLAIN_ITEMS: Final = rf"[ \t\n]++|<li>(?:<p>(?:{_PLAIN_INLINE})*+</p>|{_PLAIN_INLINE})*+</li>"
_PLAIN_MARKUP: Final = re.compile(
    rf"(?:{_PLAIN_BLOCKS}|{_elements(('ul', 'ol'), _PLAIN_ITEMS)}|<hr>|{_PLAIN_INLINE})*+"
)
_ADDRESS: Final = (
    r"https?://(?:[a-z0-9]++(?:-[a-z0-9]++)*+\.)++[a-z]{2,63}+(?:/(?:[A-Za-z0-9/._~?=%#+,:@!$*;-]++|&amp;)*+)?+"
)
_PLAIN_LINK: Final = re.compile(
    rf'<a(?: target="_blank")?+(?: rel="[a-z ]*+")?+ href="{_ADDRESS}"(?: rel="[a-z ]*+")?+>(?:{_PLAIN_TEXT})*+</a>'
)
_ANY_TEXT: Final = "x"
"""Stands for a link while markup is looked at. No element and no entity has this letter, so it is no part of one."""
_LINK_START: Final = re.compile(r'<a [^>]*?href="([^"]*+)"[^>]*+>')
"""Of plain markup, in whose attributes no angle bracket stands."""


def sanitise_html(untrusted: str) -> str | None:
    """HTML safe to show: an allow-list of tags, no scripts, styles, handlers, or data and javascript URLs.

    Links get `rel="nofollow noopener"`. None where nothing is left. At most `MAX_HTML_CHARACTERS` are read; markup
    nested beyond `MAX_DEPTH` is reduced to its text.
    """
    text = strip_invisible(untrusted[:MAX_HTML_CHARACTERS])
    # Most descriptions are what an editor wrote: looking at them costs a tenth of parsing them.
    return (_spelled_anew(text) if _is_plain(text) else _parsed(text)).strip() or None


def _parsed(text: str) -> str:
    if ":" in text:
        # A token of a prompt is no element, though a parser of HTML takes it for one and drops it.
        text = _PROMPT_TOKEN.sub("&lt;", text)
    if _may_be_deep(text) and _is_too_deep(text):
        text = plain_to_html(html.unescape(_TAG.sub(" ", text)))
    cleaned: str = _CLEANER.clean(text)
    return cleaned


def _is_plain(text: str) -> bool:
    """Whether it is known what the cleaner makes of the markup."""
    if "<a " in text:
        text = _PLAIN_LINK.sub(_ANY_TEXT, text)
    return _PLAIN_MARKUP.fullmatch(text) is not None


def _spelled_anew(plain: str) -> str:
    """Plain markup as the cleaner spells it: its links marked, its characters unescaped where they can be."""
    if "<a " in plain:
        plain = _LINK_START.sub(r'<a href="\1" rel="nofollow noopener">', plain)
    # No address holds one of these, so they are all of texts.
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], plain) if "&" in plain else plain


def _may_be_deep(text: str) -> bool:
    """False where so few elements are opened that they cannot nest too deep."""
    return (
        text.count("<") > MAX_DEPTH
        and text.count("<") - sum(map(text.count, ("</", "<p>", "<br>", "<li>"))) > MAX_DEPTH
    )


def _is_too_deep(text: str) -> bool:
    """Whether more elements are open at once than anything but hostile markup needs; linear in the text."""
    opened: dict[str, int] = {}
    depth = 0
    for found in _NAMED_TAG.finditer(text):
        name = found[2].lower()
        if name in _FLAT:
            continue
        if not found[1]:
            opened[name] = opened.get(name, 0) + 1
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif opened.get(name):
            opened[name] -= 1
            depth -= 1
    return False


def html_to_text(sanitised: str) -> str | None:
    """The plain text of sanitised HTML: entities resolved, one line per block, list items with a dash.

    None where no text is left. At most `MAX_TEXT_CHARACTERS` are kept.
    """
    text = html.unescape(_spell_tags(sanitised) if "<" in sanitised else sanitised)
    return _tidy_lines(text)[:MAX_TEXT_CHARACTERS].rstrip() or None


def _spell_tags(sanitised: str) -> str:
    """The text with every tag replaced by what stands for it; a paragraph that starts a list item breaks no line."""
    flat = sanitised.replace("\n", " ")
    if "<li>" in flat:
        flat = _ITEM_START.sub("<li>", flat)
    parts = _ANY_TAG.split(flat)
    spelled = [*map(_SPELLED.get, parts[1::2])]
    if None in spelled:
        spelled = [_spell(tag) if said is None else said for tag, said in zip(parts[1::2], spelled, strict=True)]
    parts[1::2] = spelled
    return "".join(parts)


def _spell(tag: str) -> str:
    """What stands for a tag with attributes, or for what only looks like one."""
    return "" if _TAG.match(f"<{tag}>") else f"<{tag}>"


def _tidy_lines(text: str) -> str:
    """The lines that hold anything, their blanks single, without what is invisible."""
    lines = text.split("\n")
    # Of all blanks the space alone is printable, and nothing invisible is.
    is_printable = "".join(lines).isprintable()
    if is_printable and "  " not in text:
        return "\n".join([tidy for line in lines if (tidy := line.strip(" "))])
    if not is_printable:
        lines = strip_invisible(text).split("\n")
    return "\n".join([tidy for line in lines if (tidy := " ".join(line.split()))])


def looks_like_html(text: str) -> bool:
    """Whether a text of unknown kind holds elements of HTML; `<lora:name:1>` and `<name>` are none."""
    return "<" in text and _ELEMENT.search(text) is not None


def plain_to_html(text: str) -> str:
    """Plain text as HTML: escaped, with its line breaks."""
    return html.escape(text.strip(), quote=False).replace("\r\n", "\n").replace("\n", "<br>\n")

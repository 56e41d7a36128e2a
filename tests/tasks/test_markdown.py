import pytest

from tasks.markdown import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("v1.2.0: offers (all 3) are faster - by 20 %", "v1.2.0: offers (all 3) are faster - by 20 %"),
        ("![x](http://example.com/pixel)", r"\!\[x\](http\://example.com/pixel)"),
        (
            "https://example.com WWW.example.com ada@example.com",
            r"https\://example.com WWW\.example.com ada\@example.com",
        ),
        ("<img src=x>", r"\<img src=x\>"),
        ("a | b", r"a \| b"),
        ("one\n\n# two\r\n```mermaid", r"one \# two \`\`\`mermaid"),
        ("$x$ **loud** ~~gone~~", r"\$x\$ \*\*loud\*\* \~\~gone\~\~"),
        ("&lt;script&gt;", r"\&lt;script\&gt;"),
    ],
)
def test_other_peoples_texts_are_shown_as_they_are(text: str, shown: str) -> None:
    assert plain(text) == shown

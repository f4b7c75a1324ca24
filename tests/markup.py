"""Texts that Markdown, HTML, Plotly or Streamlit would not show letter by letter."""

NASTY = (
    "<s>", "<b>", "<br>", "</div>", "&lt;", "&amp;lt;", "&#36;", "$x$", "$$x^2$$", "$5 and $6", "**b**", "*b*", "__x__",
    "_a_", "~~x~~", "H~2~O", "`a`", "``", ":red[x]", "::red[x]", ":red-badge[x]", ":small[x]", ":material/delete:",
    ":material_delete:", ":smile:", ":+1:", ":streamlit:", "[a](b)", "![a](b)", "[x]: y", "[^1]", "[ ]", "# x", "- x",
    "+ x", "1. x", "12) x", "> x", "| a | b |", "---", "===", "***", "* * *", "- [ ] x", "a -> b", "<- b", "x <-> y",
    "a -- b", "x >= y", "x <= y", "~= 3", "https://a.example/b", "www.example.com", "a@b.example", "\\", "a\\", "\\*",
    "\\(x\\)", "%{x}", "%{meta[0]}", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'\"", "{x}", "{{x}}",
    "a:b[c]{d=e}", "12:30:45", "Ġthe", "▁the", " the", "<0x0A>", "<|endoftext|>", "\ufffd", "שלום", "مرحبا", "日本",
    "<b>x</b> $y$ **z**", "a\nb", "\n", "# a\n## b", "    x", "x" * 300, "\u202eabc", "\x00", "\ud800",
)  # fmt: skip

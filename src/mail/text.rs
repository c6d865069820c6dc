//! The plain-text part of a mail that was given as HTML only.
//!
//! Takes HTML, gives text that reads well: paragraphs, lists, links with their addresses, tables (which mails use for layout)
//! as their cells in reading order. One pass, in time that grows with the length only, because customers write the HTML:
//! html2text builds and lays out a document, which took 0.4 ms for an ordinary 4 KiB mail and seconds for ten thousand nested
//! elements. Never fails and never shows what a mail client would not: styles, scripts, hidden preheaders.

use super::html_entities::decode;

/// Lines are wrapped here where there is a space.
const WIDTH: usize = 78;
/// Deepest list that is still indented further.
const LIST_INDENT_MAX: usize = 5;

/// The text of an HTML part.
#[must_use]
pub fn from_html(html: &str) -> String {
    let mut writer = Writer::default();
    let mut rest = html;
    while !rest.is_empty() {
        let end = rest.find('<').unwrap_or(rest.len());
        writer.text(&rest[..end]);
        rest = &rest[end..];
        if rest.is_empty() {
            break;
        }
        rest = writer.markup(rest);
    }
    writer.finish()
}

/// A tag: its name in lower case, and what follows the name.
struct Tag<'a> {
    name: String,
    closing: bool,
    attributes: &'a str,
}

#[derive(Default)]
struct Writer {
    out: String,
    /// Line breaks owed before the next text.
    breaks: usize,
    /// A space owed before the next text.
    space: bool,
    /// Number of the next item of each open list; 0 for bullets.
    lists: Vec<usize>,
    /// Address of the open link, and where its text begins.
    link: Option<(String, usize)>,
    /// Name of the hidden element that we are in, and how many of that name are open.
    hidden: Option<(String, usize)>,
    /// Depth of `pre`.
    preformatted: usize,
}

impl Writer {
    fn text(&mut self, raw: &str) {
        if self.hidden.is_some() || raw.is_empty() {
            return;
        }
        let text = decode(raw);
        if self.preformatted > 0 {
            self.word("");
            self.out.push_str(&text);
            return;
        }
        for (index, word) in text.split([' ', '\t', '\r', '\n', '\u{a0}']).enumerate() {
            self.space |= index > 0;
            if !word.is_empty() {
                self.word(word);
            }
        }
    }

    /// Writes a word, after the breaks and spaces owed.
    fn word(&mut self, word: &str) {
        if self.out.is_empty() {
            self.breaks = 0;
        }
        if self.breaks > 0 {
            self.out.extend(std::iter::repeat_n('\n', self.breaks));
            self.breaks = 0;
        } else if self.space && !self.out.is_empty() && !self.out.ends_with([' ', '\n']) {
            self.out.push(' ');
        }
        self.space = false;
        self.out.push_str(word);
    }

    fn owe_breaks(&mut self, breaks: usize) {
        if breaks > 0 {
            self.breaks = self.breaks.max(breaks);
            self.space = false;
        }
    }

    /// Reads the markup that `rest` begins with; gives what follows it.
    fn markup<'a>(&mut self, rest: &'a str) -> &'a str {
        if let Some(comment) = rest.strip_prefix("<!--") {
            return comment.find("-->").map_or("", |end| &comment[end + 3..]);
        }
        if rest.starts_with("<!") || rest.starts_with("<?") {
            return rest.find('>').map_or("", |end| &rest[end + 1..]);
        }
        let Some((tag, after)) = read_tag(rest) else {
            self.text("<");
            return &rest[1..];
        };
        if !tag.closing && matches!(tag.name.as_str(), "style" | "script" | "title") {
            return skip_raw(after, &tag.name);
        }
        if !self.is_hidden_by(&tag) {
            if tag.closing {
                self.close(&tag.name)
            } else {
                self.open(&tag)
            }
        }
        after
    }

    /// Follows hidden elements; whether the tag belongs to one.
    fn is_hidden_by(&mut self, tag: &Tag<'_>) -> bool {
        if let Some((name, open)) = &mut self.hidden {
            if *name == tag.name {
                *open = if tag.closing { *open - 1 } else { *open + 1 };
                if *open == 0 {
                    self.hidden = None;
                }
            }
            return true;
        }
        let hides = !tag.closing
            && !is_void(&tag.name)
            && attribute(tag.attributes, "style").is_some_and(|style| {
                let style: String = style.chars().filter(|one| !one.is_whitespace()).collect();
                style.to_ascii_lowercase().contains("display:none")
            });
        if hides {
            self.hidden = Some((tag.name.clone(), 1));
        }
        hides
    }

    fn open(&mut self, tag: &Tag<'_>) {
        match tag.name.as_str() {
            "br" => {
                self.breaks = (self.breaks + 1).min(2);
                self.space = false;
            }
            "hr" => {
                self.owe_breaks(2);
                self.word("---");
                self.owe_breaks(2);
            }
            "ul" | "ol" => {
                self.owe_breaks(if self.lists.is_empty() { 2 } else { 1 });
                self.lists.push(usize::from(tag.name == "ol"));
            }
            "li" => self.open_item(),
            "td" | "th" => self.space = true,
            "pre" => {
                self.owe_breaks(2);
                self.preformatted += 1;
            }
            "img" => {
                if let Some(alt) = attribute(tag.attributes, "alt") {
                    self.text(alt);
                }
            }
            "a" => {
                let href = attribute(tag.attributes, "href").map(decode).unwrap_or_default();
                let href = href.trim();
                let useful = href.starts_with("http:") || href.starts_with("https:");
                self.link = useful.then(|| (href.to_owned(), self.out.len()));
            }
            name => self.owe_breaks(breaks_around(name)),
        }
    }

    fn open_item(&mut self) {
        self.owe_breaks(1);
        let depth = self.lists.len().clamp(1, LIST_INDENT_MAX) - 1;
        let mark = match self.lists.last_mut() {
            Some(number) if *number > 0 => {
                *number += 1;
                format!("{}{}. ", "  ".repeat(depth), *number - 1)
            }
            _ => format!("{}* ", "  ".repeat(depth)),
        };
        self.word(&mark);
    }

    fn close(&mut self, name: &str) {
        match name {
            "ul" | "ol" => {
                self.lists.pop();
                self.owe_breaks(if self.lists.is_empty() { 2 } else { 1 });
            }
            "pre" => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.owe_breaks(2);
            }
            "a" => self.close_link(),
            "td" | "th" => self.space = true,
            name => self.owe_breaks(breaks_around(name)),
        }
    }

    /// Puts the address behind the text of a link, unless the text is the address.
    fn close_link(&mut self) {
        let Some((href, start)) = self.link.take() else { return };
        let text = self.out.get(start..).unwrap_or_default().trim();
        if text.is_empty() {
            self.word(&href);
        } else if text != href {
            self.space = true;
            self.word(&format!("({href})"));
        }
    }

    /// Wraps long lines, takes blanks off line ends and surplus empty lines out.
    fn finish(self) -> String {
        let mut tidy = String::with_capacity(self.out.len() + self.out.len() / WIDTH + 2);
        let mut blank = true;
        for line in self.out.lines() {
            let line = line.trim_end();
            if !(line.is_empty() && blank) {
                wrap(line, &mut tidy);
            }
            blank = line.is_empty();
        }
        tidy.truncate(tidy.trim_end().len());
        if !tidy.is_empty() {
            tidy.push('\n');
        }
        tidy
    }
}

/// Line breaks around an element: none in running text, one for blocks, an empty line for paragraphs.
fn breaks_around(name: &str) -> usize {
    match name {
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "blockquote" | "dl" => 2,
        "div" | "table" | "tr" | "tbody" | "section" | "article" | "header" | "footer" | "main" | "li" | "dt"
        | "dd" | "center" | "body" | "address" | "figure" | "figcaption" | "caption" => 1,
        _ => 0,
    }
}

fn is_void(name: &str) -> bool {
    matches!(
        name,
        "br" | "hr" | "img" | "meta" | "link" | "input" | "area" | "base" | "col" | "wbr"
    )
}

/// Reads `<name …>` or `</name …>`; gives what follows. None when the bracket begins no tag.
fn read_tag(rest: &str) -> Option<(Tag<'_>, &str)> {
    let inside = rest.strip_prefix('<')?;
    let (closing, inside) = inside
        .strip_prefix('/')
        .map_or((false, inside), |inside| (true, inside));
    if !inside.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let name_end = inside.find(|one: char| !(one.is_ascii_alphanumeric() || matches!(one, '-' | ':')));
    let (name, attributes) = inside.split_at(name_end.unwrap_or(inside.len()));
    let mut quote = None;
    // Without an end, the tag is the rest of the document.
    let mut end = (attributes.len(), attributes.len());
    for (position, byte) in attributes.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => {
                end = (position, position + 1);
                break;
            }
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    let tag = Tag {
        name: name.to_ascii_lowercase(),
        closing,
        attributes: &attributes[..end.0],
    };
    Some((tag, &attributes[end.1..]))
}

/// Skips to behind the closing tag of an element whose content is no markup.
fn skip_raw<'a>(rest: &'a str, name: &str) -> &'a str {
    let mut position = 0;
    while let Some(found) = rest[position..].find("</") {
        let start = position + found + 2;
        let candidate = rest.as_bytes().get(start..start + name.len());
        if candidate.is_some_and(|candidate| candidate.eq_ignore_ascii_case(name.as_bytes())) {
            return rest[start..].find('>').map_or("", |end| &rest[start + end + 1..]);
        }
        position = start;
    }
    ""
}

/// The raw value of an attribute.
fn attribute<'a>(attributes: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = attributes.trim_start_matches([' ', '\t', '\r', '\n', '/']);
    while !rest.is_empty() {
        let name_end = rest.find(['=', ' ', '\t', '\r', '\n', '/']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(name_end);
        let after = after.trim_start();
        let value;
        if let Some(given) = after.strip_prefix('=') {
            let given = given.trim_start();
            let quote = given.chars().next().filter(|first| matches!(first, '"' | '\''));
            let (start, end) = match quote {
                Some(quote) => (1, given[1..].find(quote).map_or(given.len(), |end| end + 1)),
                None => (0, given.find([' ', '\t', '\r', '\n']).unwrap_or(given.len())),
            };
            value = &given[start..end];
            rest = given[end..].trim_start_matches(['"', '\'']);
        } else {
            value = "";
            rest = after;
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        // A stray character must not keep us here.
        let skip = usize::from(name.is_empty() && rest.len() == attributes.len());
        rest = rest
            .get(skip..)
            .unwrap_or("")
            .trim_start_matches([' ', '\t', '\r', '\n', '/']);
    }
    None
}

/// Appends a line, broken at spaces; what follows has the indent of its beginning.
fn wrap(line: &str, out: &mut String) {
    let indent = line.len() - line.trim_start().len();
    let mut column = 0;
    for (index, word) in line[indent..].split(' ').enumerate() {
        let length = word.chars().count();
        if index == 0 {
            out.push_str(&line[..indent]);
            column = indent;
        } else if column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&line[..indent]);
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(html: &str, expect: &str) {
        assert_eq!(from_html(html), expect, "{html}");
    }

    #[test]
    fn ordinary_mail_reads_well() {
        check("", "");
        check(
            "<p>Hello <b>Jacky</b>,</p>\n<p>your code is\n 483921.</p>",
            "Hello Jacky,\n\nyour code is 483921.\n",
        );
        check("a<br>b<br/>c<br><br><br>d", "a\nb\nc\n\nd\n");
        check(
            "a &amp; b &lt;c&gt; &eacute; &#233;&#x1F600; &unknown; &",
            "a & b <c> é é😀 &unknown; &\n",
        );
        check("<p>a</p><p></p><p>&nbsp;</p><p>b</p>", "a\n\nb\n");
        check("<pre>  two\n  lines</pre>x", "  two\n  lines\n\nx\n");
        check("2 < 3 <- <3", "2 < 3 <- <3\n");
        check("a<hr>b", "a\n\n---\n\nb\n");
    }

    #[test]
    fn links_keep_their_addresses() {
        check(
            "<a href=\"https://acme.test/x?a=1&amp;b=2\">here</a>.",
            "here (https://acme.test/x?a=1&b=2).\n",
        );
        check(
            "<a class=x href='https://acme.test'>https://acme.test</a>",
            "https://acme.test\n",
        );
        check(
            "<a href=https://acme.test><img src=\"x>y\" alt=\"Logo\"></a>",
            "Logo (https://acme.test)\n",
        );
        check("<a href=\"https://acme.test\"></a>", "https://acme.test\n");
        check(
            "<a href=\"mailto:a@b.c\">write</a> <a href=\"#top\">up</a>",
            "write up\n",
        );
    }

    #[test]
    fn lists_and_tables_are_in_reading_order() {
        check(
            "x<ul><li>one</li><li>two<ul><li>deep</li></ul></li></ul>y",
            "x\n\n* one\n* two\n  * deep\n\ny\n",
        );
        check("<ol><li>one<li>two</ol>", "1. one\n2. two\n");
        check(
            "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>",
            "a b\nc\n",
        );
        check(
            "<table><tr><td><table><tr><td>in a table</td></tr></table></td></tr></table>z",
            "in a table\nz\n",
        );
    }

    #[test]
    fn what_is_not_shown_is_not_in_the_text() {
        check(
            "<head><title>t</title><style>p { color: red }</style></head><p>x</p><script>a</b></SCRIPT>y",
            "x\n\ny\n",
        );
        check("<!-- <p>no</p> -->x<!DOCTYPE html><?xml?>", "x\n");
        check("<div style=\"DISPLAY : none; x\">a<div>b</div>c</div>d", "d\n");
        check("<script>never closed", "");
        check("x<!-- never closed", "x\n");
        check("x<a href=\"never closed", "x\n");
    }

    #[test]
    fn long_lines_are_wrapped_at_spaces() {
        let words = "word ".repeat(40);
        let text = from_html(&format!("<ul><li>{words}</li></ul>"));
        assert!(
            text.lines().all(|line| line.len() <= WIDTH) && text.lines().count() == 3,
            "{text}"
        );
        let address = format!("https://acme.test/{}", "x".repeat(200));
        check(&format!("see {address} now"), &format!("see\n{address}\nnow\n"));
    }

    #[test]
    fn deep_and_endless_markup_is_only_long() {
        for piece in [
            "<div>",
            "<a href=x>",
            "<ul><li>",
            "<p style='display:none'>",
            "<!--",
            "&#",
            "<a b c d ",
            "</style",
            "<script>",
        ] {
            let text = from_html(&piece.repeat(20_000));
            assert!(text.len() <= 500_000, "{piece}: {}", text.len());
        }
    }

    proptest! {
        #[test]
        fn no_html_panics(html in "(<(p|table|td|a href=\"x\"|ul|li|div|/p|/td|/ul|!--|pre|x=|a href=)>?|\\PC|[<>&;\"'= /-]|&#?[a-z0-9]{1,4};){0,60}") {
            let text = from_html(&html);
            prop_assert!(text.is_empty() || text.ends_with('\n'));
        }
    }
}

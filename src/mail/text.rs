//! The plain-text part of a mail that was given as HTML only.
//!
//! Takes HTML, gives text that reads well: paragraphs, lists, links as footnotes, tables (which mails use for layout) as their
//! cells one below the other. Costs about a millisecond for 10 KiB of HTML, the dearest step of making a message: a template
//! with a text part saves it. Never fails: HTML that cannot be read gives what a reader would see without its tags.

use html2text::config;

/// Lines are wrapped here.
const WIDTH: usize = 78;
/// HTML longer than this is not laid out, only stripped: the time that layout takes grows faster than its length.
pub const LAYOUT_MAX: usize = 512 * 1024;

/// The text of an HTML part.
#[must_use]
pub fn from_html(html: &str) -> String {
    if html.len() > LAYOUT_MAX {
        return stripped(html);
    }
    let laid_out = config::plain()
        .raw_mode(true)
        .link_footnotes(true)
        .no_link_wrapping()
        .allow_width_overflow()
        .string_from_read(html.as_bytes(), WIDTH);
    laid_out.map_or_else(|_| stripped(html), |text| tidy(&text))
}

/// Without blanks at line ends, and with one empty line where there were several.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut blank = true;
    for line in text.lines() {
        let line = line.trim_end();
        if !(line.is_empty() && blank) {
            tidy.push_str(line);
            tidy.push('\n');
        }
        blank = line.is_empty();
    }
    let length = tidy.trim_end().len();
    tidy.truncate(length);
    if length > 0 {
        tidy.push('\n');
    }
    tidy
}

/// Everything outside of angle brackets.
fn stripped(html: &str) -> String {
    let mut inside = false;
    let mut text = String::with_capacity(html.len() / 2);
    for character in html.chars() {
        match character {
            '<' => inside = true,
            '>' if inside => inside = false,
            character if !inside => text.push(character),
            _ => {}
        }
    }
    tidy(&text)
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
            "<p>Hello <b>Jacky</b>,</p><p>your code is 483921.</p>",
            "Hello **Jacky**,\n\nyour code is 483921.\n",
        );
        check("a &amp; b &lt;c&gt; &eacute;", "a & b <c> é\n");
        check(
            "<style>p { color: red }</style><p>x</p><script>alert(1)</script>",
            "x\n",
        );
        check(
            "<a href=\"https://acme.test/x\">here</a>",
            "[here][1]\n\n[1]: https://acme.test/x\n",
        );
        check("<ul><li>one</li><li>two</li></ul>", "* one\n* two\n");
        check(
            "<table><tr><td><table><tr><td>in a table</td></tr></table></td></tr></table>",
            "in a table\n",
        );
        check("<p>a</p><p></p><p>&nbsp;</p><p>b</p>", "a\n\nb\n");
    }

    #[test]
    fn what_is_too_long_to_lay_out_loses_its_tags() {
        let html = format!("<p>a</p> {}<b>c</b>", "b ".repeat(LAYOUT_MAX / 2));
        let text = from_html(&html);
        assert!(text.starts_with("a b b") && text.ends_with("b c\n"));
    }

    proptest! {
        #[test]
        fn no_html_panics(html in "(<(p|table|tr|td|a href=\"x\"|ul|li|div|/p|/td|/tr|/table|/ul)>|\\PC|&#?[a-z0-9]{1,4};){0,60}") {
            let text = from_html(&html);
            prop_assert!(text.is_empty() || text.ends_with('\n'));
        }
    }

    #[test]
    fn tmp_deep() {
        for tag in [
            "<div>",
            "<b>",
            "<table><tr><td>",
            "<ul><li>",
            "<span>",
            "<blockquote>",
            "<a href=x>",
            "<p><b>",
            "<table><td>",
        ] {
            for n in [500_usize, 2_000, 10_000, 100_000] {
                let n = n.min(500_000 / tag.len());
                let html = format!("{}x", tag.repeat(n));
                let date = || {
                    String::from_utf8(std::process::Command::new("date").arg("+%s%N").output().unwrap().stdout)
                        .unwrap()
                        .trim()
                        .parse::<u64>()
                        .unwrap()
                };
                let start = date();
                eprintln!("{tag} {n} ...");
                let l = from_html(&html).len();
                eprintln!("{tag} {n}: {l} {} ms", (date() - start) / 1_000_000);
            }
        }
    }
}

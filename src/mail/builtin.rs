//! The mails that are built in: verification code, receipt, alert, newsletter.
//!
//! Takes a name and variables, gives subject, HTML and text. The pages are in `templates/mail/`, checked when this is compiled;
//! what they need is declared in [`BUILT_INS`]. All missing variables are named at once; a required text that is blank is
//! missing too, so that no mail ever says "Your code is " and nothing. Never lets markup of a variable through, nor a link that
//! is not http or https.

pub use super::builtin_variables::{BUILT_INS, BuiltIn, ITEMS_MAX, Kind, Variable, find};
use super::builtin_variables::{Given, check};
use super::render::{Part, RenderError, Rendered, SUBJECT_MAX, check_variables};
use crate::domain::Variables;
use askama::Template;

/// Renders a built-in mail.
///
/// # Errors
/// An unknown name; all missing variables; the first one of a wrong kind.
pub fn render_builtin(name: &str, variables: &Variables) -> Result<Rendered, RenderError> {
    let built_in = find(name).ok_or_else(|| RenderError::UnknownBuiltIn(name.to_owned()))?;
    check_variables(variables)?;
    let mut missing = Vec::new();
    check(built_in.variables, variables, "", &mut missing)?;
    if !missing.is_empty() {
        return Err(RenderError::Missing(missing));
    }
    let given = Given {
        declared: built_in.variables,
        variables,
    };
    match built_in.name {
        "verification-code" => verification_code(&given),
        "receipt" => receipt(&given),
        "alert" => alert(&given),
        _ => newsletter(&given),
    }
}

#[derive(Template)]
#[template(path = "mail/verification-code.html")]
struct VerificationCodeHtml<'a> {
    subject: &'a str,
    name: &'a str,
    code: &'a str,
    minutes: &'a str,
    product: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "mail/verification-code.txt")]
struct VerificationCodeText<'a> {
    name: &'a str,
    code: &'a str,
    minutes: &'a str,
    product: Option<&'a str>,
}

fn verification_code(given: &Given<'_>) -> Result<Rendered, RenderError> {
    let (name, code, minutes) = (given.text("name"), given.text("code"), given.text("minutes"));
    let product = given.optional("product");
    let product = product.as_deref();
    let subject = match product {
        Some(product) => format!("{code} is your {product} verification code"),
        None => format!("{code} is your verification code"),
    };
    let html = VerificationCodeHtml {
        subject: &subject,
        name: &name,
        code: &code,
        minutes: &minutes,
        product,
    };
    let text = VerificationCodeText {
        name: &name,
        code: &code,
        minutes: &minutes,
        product,
    };
    finish(&subject, &html, &text)
}

struct ReceiptItem {
    description: String,
    quantity: Option<String>,
    price: String,
}

#[derive(Template)]
#[template(path = "mail/receipt.html")]
struct ReceiptHtml<'a> {
    subject: &'a str,
    name: &'a str,
    items: &'a [ReceiptItem],
    total: &'a str,
    number: Option<&'a str>,
    date: Option<&'a str>,
    url: Option<&'a str>,
    product: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "mail/receipt.txt")]
struct ReceiptText<'a> {
    name: &'a str,
    items: &'a [ReceiptItem],
    total: &'a str,
    number: Option<&'a str>,
    date: Option<&'a str>,
    url: Option<&'a str>,
    product: Option<&'a str>,
}

fn receipt(given: &Given<'_>) -> Result<Rendered, RenderError> {
    let items: Vec<ReceiptItem> = given
        .items("items")
        .map(|item| ReceiptItem {
            description: item.text("description"),
            quantity: item.optional("quantity"),
            price: item.text("price"),
        })
        .collect();
    let (name, total) = (given.text("name"), given.text("total"));
    let [number, date, url, product] = ["number", "date", "url", "product"].map(|name| given.optional(name));
    let mut subject = match &product {
        Some(product) => format!("Your {product} receipt"),
        None => "Your receipt".to_owned(),
    };
    if let Some(number) = &number {
        subject.push(' ');
        subject.push_str(number);
    }
    let html = ReceiptHtml {
        subject: &subject,
        name: &name,
        items: &items,
        total: &total,
        number: number.as_deref(),
        date: date.as_deref(),
        url: url.as_deref(),
        product: product.as_deref(),
    };
    let text = ReceiptText {
        name: &name,
        items: &items,
        total: &total,
        number: number.as_deref(),
        date: date.as_deref(),
        url: url.as_deref(),
        product: product.as_deref(),
    };
    finish(&subject, &html, &text)
}

#[derive(Template)]
#[template(path = "mail/alert.html")]
struct AlertHtml<'a> {
    subject: &'a str,
    title: &'a str,
    message: &'a str,
    severity: &'a str,
    colour: &'a str,
    time: Option<&'a str>,
    url: Option<&'a str>,
    product: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "mail/alert.txt")]
struct AlertText<'a> {
    title: &'a str,
    message: &'a str,
    severity: &'a str,
    time: Option<&'a str>,
    url: Option<&'a str>,
    product: Option<&'a str>,
}

fn alert(given: &Given<'_>) -> Result<Rendered, RenderError> {
    let (title, message, severity) = (given.text("title"), given.text("message"), given.text("severity"));
    let [time, url, product] = ["time", "url", "product"].map(|name| given.optional(name));
    let subject = format!("[{severity}] {title}");
    let colour = match severity.as_str() {
        "critical" => "#b91c1c",
        "info" => "#1d4ed8",
        _ => "#b45309",
    };
    let html = AlertHtml {
        subject: &subject,
        title: &title,
        message: &message,
        severity: &severity,
        colour,
        time: time.as_deref(),
        url: url.as_deref(),
        product: product.as_deref(),
    };
    let text = AlertText {
        title: &title,
        message: &message,
        severity: &severity,
        time: time.as_deref(),
        url: url.as_deref(),
        product: product.as_deref(),
    };
    finish(&subject, &html, &text)
}

struct Article {
    title: String,
    text: String,
    url: Option<String>,
}

#[derive(Template)]
#[template(path = "mail/newsletter.html")]
struct NewsletterHtml<'a> {
    subject: &'a str,
    product: &'a str,
    title: &'a str,
    intro: Option<&'a str>,
    articles: &'a [Article],
    unsubscribe_url: Option<&'a str>,
    address: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "mail/newsletter.txt")]
struct NewsletterText<'a> {
    product: &'a str,
    title: &'a str,
    intro: Option<&'a str>,
    articles: &'a [Article],
    unsubscribe_url: Option<&'a str>,
    address: Option<&'a str>,
}

fn newsletter(given: &Given<'_>) -> Result<Rendered, RenderError> {
    let articles: Vec<Article> = given
        .items("articles")
        .map(|article| Article {
            title: article.text("title"),
            text: article.text("text"),
            url: article.optional("url"),
        })
        .collect();
    let (product, title) = (given.text("product"), given.text("title"));
    let [intro, unsubscribe_url, address] = ["intro", "unsubscribe_url", "address"].map(|name| given.optional(name));
    let html = NewsletterHtml {
        subject: &title,
        product: &product,
        title: &title,
        intro: intro.as_deref(),
        articles: &articles,
        unsubscribe_url: unsubscribe_url.as_deref(),
        address: address.as_deref(),
    };
    let text = NewsletterText {
        product: &product,
        title: &title,
        intro: intro.as_deref(),
        articles: &articles,
        unsubscribe_url: unsubscribe_url.as_deref(),
        address: address.as_deref(),
    };
    finish(&title, &html, &text)
}

fn finish(subject: &str, html: &impl Template, text: &impl Template) -> Result<Rendered, RenderError> {
    if subject.contains(['\r', '\n', '\0']) {
        return Err(RenderError::SubjectLineBreak);
    }
    if subject.len() > SUBJECT_MAX {
        return Err(RenderError::TooLong(Part::Subject));
    }
    let failed = |part| {
        move |error: askama::Error| RenderError::Failed {
            part,
            line: 0,
            detail: error.to_string(),
        }
    };
    Ok(Rendered {
        subject: subject.to_owned(),
        html: Some(html.render().map_err(failed(Part::Html))?),
        text: Some(text.render().map_err(failed(Part::Text))?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn render(name: &str, variables: Value) -> Result<Rendered, RenderError> {
        render_builtin(name, variables.as_object().unwrap())
    }

    fn check_missing(name: &str, variables: Value, expect: &[&str]) {
        let names = expect.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(render(name, variables), Err(RenderError::Missing(names)), "{name}");
    }

    #[test]
    fn the_verification_code_says_what_it_must() {
        let rendered = render("verification-code", json!({"name": "Jacky", "code": 483921})).unwrap();
        assert_eq!(rendered.subject, "483921 is your verification code");
        assert_eq!(
            rendered.text.unwrap(),
            "Hello Jacky,\n\nYour verification code is 483921\n\nIt is valid for 10 minutes. Do not share it with anyone: nobody\n\
             from our side will ask for it.\n\nYou did not ask for this code? Then you can ignore this message."
        );
        let html = rendered.html.unwrap();
        for part in [
            "Hello Jacky,",
            ">483921<",
            "valid for 10 minutes",
            "color-scheme",
            "max-width:600px",
        ] {
            assert!(html.contains(part), "{part}");
        }
        let rendered = render(
            "verification-code",
            json!({"name": "J", "code": "1", "minutes": "5", "product": "Acme"}),
        );
        let rendered = rendered.unwrap();
        assert_eq!(rendered.subject, "1 is your Acme verification code");
        assert!(rendered.text.unwrap().ends_with("-- Acme") && rendered.html.unwrap().contains(">Acme<"));
    }

    #[test]
    fn all_missing_variables_are_named() {
        check_missing("verification-code", json!({}), &["name", "code"]);
        check_missing(
            "verification-code",
            json!({"name": " ", "code": null}),
            &["name", "code"],
        );
        check_missing(
            "receipt",
            json!({"items": [{"price": 1}, {}]}),
            &[
                "name",
                "items.0.description",
                "items.1.description",
                "items.1.price",
                "total",
            ],
        );
        check_missing("alert", json!({}), &["title", "message"]);
        check_missing(
            "newsletter",
            json!({"articles": [{"title": "t"}]}),
            &["product", "title", "articles.0.text"],
        );
        assert_eq!(
            render("nope", json!({})),
            Err(RenderError::UnknownBuiltIn("nope".to_owned()))
        );
    }

    #[test]
    fn wrong_kinds_are_refused() {
        let wrong = |name: &str, expected| {
            Err(RenderError::WrongType {
                name: name.to_owned(),
                expected,
            })
        };
        let list = "a list of 1 to 200 objects";
        let alert = |field: &str, value: Value| render("alert", json!({"title": "t", "message": "m", field: value}));
        assert_eq!(alert("title", json!({})), wrong("title", "text or a number"));
        assert_eq!(
            alert("severity", json!("bad")),
            wrong("severity", "info, warning or critical")
        );
        assert_eq!(
            alert("url", json!("javascript:alert(1)")),
            wrong("url", "an http or https address")
        );
        assert_eq!(alert("title", json!("a\nb")), Err(RenderError::SubjectLineBreak));
        assert_eq!(
            alert("title", json!("a".repeat(999))),
            Err(RenderError::TooLong(Part::Subject))
        );
        let receipt = |items: Value| render("receipt", json!({"name": "n", "total": "1", "items": items}));
        assert_eq!(receipt(json!([])), wrong("items", list));
        assert_eq!(receipt(json!("x")), wrong("items", list));
        assert_eq!(receipt(json!([1])), wrong("items", list));
        assert_eq!(receipt(json!(vec![json!({}); 201])), wrong("items", list));
    }

    #[test]
    fn markup_in_variables_is_escaped_in_html_and_kept_in_text() {
        let article = json!({"title": "<b>", "text": "1\n<i>2</i>", "url": "https://acme.test/?a=1&b=\"2\""});
        let variables = json!({"product": "<p>", "title": "<t>", "articles": [article], "address": "<a>",
            "unsubscribe_url": "https://acme.test/u"});
        let rendered = render("newsletter", variables).unwrap();
        let html = rendered.html.unwrap();
        for raw in ["<b>", "<i>2", "<p><", "<t>", "<a>", "\"2\""] {
            assert!(!html.contains(raw), "{raw}");
        }
        let text = rendered.text.unwrap();
        assert!(text.contains(
            "## <b>\n\n1\n<i>2</i>\nhttps://acme.test/?a=1&b=\"2\"\n\n-- <p>\n<a>\nUnsubscribe: https://acme.test/u"
        ));
    }

    #[test]
    fn a_receipt_lists_its_items() {
        let variables = json!({"name": "Jacky", "total": "12.00 EUR", "number": "R-1", "date": "23 November 2026",
            "url": "https://acme.test/o/1", "product": "Acme",
            "items": [{"description": "Tea", "quantity": 2, "price": "8.00 EUR"}, {"description": "Cup", "price": "4.00 EUR"}]});
        let rendered = render("receipt", variables).unwrap();
        assert_eq!(rendered.subject, "Your Acme receipt R-1");
        assert_eq!(
            rendered.text.unwrap(),
            "Thank you, Jacky!\n\nThis is the receipt for your order.\nReceipt R-1\nDate 23 November 2026\n\n\
             * 2 x Tea: 8.00 EUR\n* Cup: 4.00 EUR\n\nTotal: 12.00 EUR\n\nView your order: https://acme.test/o/1\n\n-- Acme"
        );
        assert!(rendered.html.unwrap().contains("2 × Tea"));
    }

    #[test]
    fn every_declared_mail_renders_and_needs_what_it_declares() {
        for built_in in BUILT_INS {
            let required: Vec<_> = built_in
                .variables
                .iter()
                .filter(|one| one.required)
                .map(|one| one.name)
                .collect();
            check_missing(built_in.name, json!({}), &required);
        }
    }
}

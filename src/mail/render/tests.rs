//! Tests of rendering: what templates give, what they refuse, and their bounds.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn variables(value: Value) -> Variables {
    value.as_object().unwrap().clone()
}

fn text_template(source: &str) -> Result<Compiled, TemplateError> {
    let sources = Sources {
        subject: "s",
        html: None,
        text: Some(source),
    };
    Compiled::new(sources, Limits::default())
}

fn html_template(source: &str) -> Compiled {
    let sources = Sources {
        subject: "s",
        html: Some(source),
        text: None,
    };
    Compiled::new(sources, Limits::default()).unwrap()
}

fn check(source: &str, value: Value, expect: &str) {
    let rendered = text_template(source).unwrap().render(&variables(value));
    assert_eq!(
        rendered.map(|rendered| rendered.text.unwrap()),
        Ok(expect.to_owned()),
        "{source}"
    );
}

fn check_missing(source: &str, value: Value, expect: &[&str]) {
    let compiled = text_template(source).unwrap();
    let value = variables(value);
    assert_eq!(compiled.missing(&value), expect, "{source}");
    if expect.is_empty() {
        assert!(
            compiled.render(&value).is_ok(),
            "{source}: {:?}",
            compiled.render(&value)
        );
    } else {
        let names = expect.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(compiled.render(&value), Err(RenderError::Missing(names)), "{source}");
    }
}

fn check_refused(source: &str, line: usize, detail: &str) {
    let error = text_template(source).unwrap_err();
    assert_eq!((error.part, error.line), (Part::Text, line), "{source}: {error}");
    assert!(error.detail.contains(detail), "{source}: {error}");
}

#[test]
fn the_promised_example_holds() {
    let source = "Hello {{name}}, Your verification code is {{code}}";
    let rendered = Compiled::new(
        Sources {
            subject: source,
            html: Some(source),
            text: Some(source),
        },
        Limits::default(),
    )
    .unwrap()
    .render(&variables(json!({"name": "Jacky", "code": "483921"})))
    .unwrap();
    let expect = "Hello Jacky, Your verification code is 483921";
    assert_eq!(
        (
            rendered.subject.as_str(),
            rendered.html.as_deref(),
            rendered.text.as_deref()
        ),
        (expect, Some(expect), Some(expect))
    );
}

#[test]
fn the_language_is_what_we_promise() {
    check(
        "{{a.b}} {{a.c.0}} {{n}} {{t}}",
        json!({"a": {"b": 1, "c": ["x"]}, "n": 1.5, "t": true}),
        "1 x 1.5 true",
    );
    check("{{#if a}}A{{else}}B{{/if}}", json!({"a": false}), "B");
    check(
        "{{#if a}}A{{else if b}}B{{else}}C{{/if}}",
        json!({"a": 0, "b": "x"}),
        "B",
    );
    check("{{#unless a}}A{{/unless}}", json!({"a": ""}), "A");
    check(
        "{{#each l}}{{@index}}:{{this}}{{#unless @last}},{{/unless}}{{/each}}",
        json!({"l": [7, 8]}),
        "0:7,1:8",
    );
    check(
        "{{#each l as |item at|}}{{at}}{{item.x}}{{/each}}",
        json!({"l": [{"x": 1}]}),
        "01",
    );
    check(
        "{{#each o}}{{@key}}={{this}};{{/each}}",
        json!({"o": {"a": 1, "b": 2}}),
        "a=1;b=2;",
    );
    check(
        "{{#each l}}{{../name}}{{@root.name}}{{/each}}",
        json!({"l": [1], "name": "n"}),
        "nn",
    );
    check("{{#each l}}x{{else}}none{{/each}}", json!({"l": []}), "none");
    check("{{#with a}}{{b}}{{/with}}", json!({"a": {"b": 1}}), "1");
    check("{{#if (gt n 1)}}many{{else}}one{{/if}}", json!({"n": 2}), "many");
    check(
        "{{#if (and a (eq b \"x\"))}}yes{{/if}}",
        json!({"a": true, "b": "x"}),
        "yes",
    );
    check("{{! a comment }}{{!-- another {{x}} --}}\\{{x}}", json!({}), "{{x}}");
    check("<{{a}}&{{{a}}}>", json!({"a": "<b>"}), "<<b>&<b>>");
    check("{{this.len}}", json!({"len": 5}), "5");
}

#[test]
fn html_is_escaped_and_triple_braces_are_not() {
    let rendered = html_template("<a href=\"{{u}}\">{{{u}}}</a>").render(&variables(json!({"u": "\"><script>&'"})));
    assert_eq!(
        rendered.unwrap().html.unwrap(),
        "<a href=\"&quot;&gt;&lt;script&gt;&amp;&#x27;\">\"><script>&'</a>"
    );
}

#[test]
fn all_missing_variables_are_named_at_once() {
    check_missing("{{a}} {{b.c}} {{a}} {{d}}", json!({"d": 1}), &["a", "b.c"]);
    check_missing("{{a}}", json!({"a": null}), &["a"]);
    check_missing("{{a}}", json!({"a": ""}), &[]);
    check_missing("{{a.b}}", json!({"a": "text"}), &["a.b"]);
    check_missing("{{l.x}}", json!({"l": []}), &["l.x"]);
    check_missing(
        "{{#each l}}{{x}}{{../y}}{{/each}}",
        json!({"l": [{"x": 1}, {}]}),
        &["y", "l.1.x"],
    );
    check_missing("{{#each l}}{{x}}{{/each}}", json!({}), &["l"]);
    check_missing("{{#each l}}{{x}}{{/each}}", json!({"l": "text"}), &["l"]);
    check_missing("{{#each l as |i|}}{{i.x}}{{/each}}", json!({"l": [{}]}), &["l.0.x"]);
    check_missing(
        "{{#each l as |i|}}{{#each i.m as |j|}}{{j.x}}{{i.y}}{{z}}{{/each}}{{/each}}",
        json!({"l": [{"m": [{"z": 1}]}]}),
        &["l.0.m.0.x", "l.0.y"],
    );
    check_missing("{{#with a}}{{b}}{{/with}}", json!({}), &["a"]);
    check_missing("{{#with a}}{{b}}{{/with}}", json!({"a": {"c": 1}}), &["a.b"]);
    check_missing("{{#with this}}{{b}}{{/with}}", json!({"a": 1}), &["b"]);
    check_missing("{{#with a}}{{b}}{{else}}{{c}}{{/with}}", json!({}), &["c"]);
}

#[test]
fn a_flag_is_needed_and_a_variable_with_its_own_condition_is_not() {
    check_missing("{{#if urgent}}URGENT{{/if}}", json!({}), &["urgent"]);
    check_missing("{{#if urgent}}URGENT{{/if}}", json!({"urgent": null}), &[]);
    check_missing("{{#unless quiet}}loud{{/unless}}", json!({}), &["quiet"]);
    check_missing("{{#if minutes}}{{minutes}} min{{/if}}", json!({}), &[]);
    check_missing("{{#if user}}{{user.name}}{{/if}}", json!({}), &[]);
    check_missing(
        "{{#if user}}{{user.name}}{{/if}}",
        json!({"user": {"x": 1}}),
        &["user.name"],
    );
    check_missing("{{#unless name}}you{{else}}{{name}}{{/unless}}", json!({}), &[]);
    check_missing("{{#if l}}{{#each l}}{{x}}{{/each}}{{/if}}", json!({}), &[]);
    check_missing("{{#each l}}{{#if x}}{{x}}{{/if}}{{/each}}", json!({"l": [{}]}), &[]);
    check_missing("{{#if a}}{{b}}{{else}}{{c}}{{/if}}", json!({"a": true}), &["b"]);
    check_missing("{{#if a}}{{b}}{{else}}{{c}}{{/if}}", json!({"a": false}), &["c"]);
    check_missing("{{#if (gt n 1)}}x{{/if}}", json!({}), &["n"]);
    check_missing("{{#if (or a b)}}x{{/if}}", json!({"a": null}), &["b"]);
}

#[test]
fn variables_behind_comparisons_are_all_named_when_one_fails() {
    let compiled = text_template("{{#if (gt n 1)}}{{a}}{{b}}{{/if}}").unwrap();
    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(
        compiled.render(&variables(json!({"n": 2}))),
        Err(RenderError::Missing(names))
    );
    assert!(compiled.render(&variables(json!({"n": 1}))).is_ok());
}

#[test]
fn the_variables_of_a_template_are_listed() {
    let source = "{{name}} {{#if minutes}}{{minutes}}{{/if}} {{#each items}}{{price}}{{/each}} {{#if flag}}x{{/if}}";
    let listed: Vec<_> = text_template(source).unwrap().variables();
    let listed: Vec<_> = listed.iter().map(|one| (one.name.as_str(), one.required)).collect();
    assert_eq!(
        listed,
        [
            ("flag", true),
            ("items", true),
            ("items[].price", true),
            ("minutes", false),
            ("name", true)
        ]
    );
}

#[test]
fn what_is_not_in_the_language_is_refused_with_its_line() {
    check_refused("a\n{{> footer}}", 2, "partials");
    check_refused("{{#*inline \"x\"}}{{/inline}}", 1, "decorators");
    check_refused("{{log x}}", 1, "no helper called log");
    check_refused("{{lookup a b}}", 1, "no helper called lookup");
    check_refused("{{log}}", 1, "is a helper");
    check_refused("{{len}}", 1, "write {{this.len}}");
    check_refused("{{posthaste_step 1}}", 1, "no helper called posthaste_step");
    check_refused("{{posthaste_step}}", 1, "is a helper");
    check_refused("{{#foo a}}{{/foo}}", 1, "no block called foo");
    check_refused("\n\n{{#each}}{{/each}}", 3, "takes one variable");
    check_refused("{{#each (eq a b)}}{{/each}}", 1, "needs a variable");
    check_refused("{{#if a}}", 1, "");
    check_refused("{{#if a}}{{/each}}", 1, "");
    check_refused("{{../a}}", 1, "leads out of the template");
    check_refused("{{@nonsense}}", 1, "no variable @nonsense");
    check_refused("{{eq a}}", 1, "wrong number of arguments");
}

#[test]
fn a_subject_is_one_line_whatever_the_variables() {
    let sources = Sources {
        subject: "Hi {{{a}}}",
        ..Sources::default()
    };
    let compiled = Compiled::new(sources, Limits::default()).unwrap();
    for bad in ["x\r\nBcc: y", "x\ny", "x\ry", "x\0y"] {
        assert_eq!(
            compiled.render(&variables(json!({"a": bad}))),
            Err(RenderError::SubjectLineBreak),
            "{bad:?}"
        );
    }
    assert_eq!(
        compiled.render(&variables(json!({"a": "x".repeat(996)}))),
        Err(RenderError::TooLong(Part::Subject))
    );
    assert_eq!(
        compiled.render(&variables(json!({"a": "<b>"}))).unwrap().subject,
        "Hi <b>"
    );
    let two_lines = Sources {
        subject: "a\nb",
        ..Sources::default()
    };
    assert_eq!(
        Compiled::new(two_lines, Limits::default()).unwrap_err().part,
        Part::Subject
    );
}

#[test]
fn hostile_templates_end_soon() {
    let list: Vec<u8> = vec![1; 20_000];
    let deep = "{{#each a}}{{#each ../a}}{{#each ../../a}}{{/each}}{{/each}}{{/each}}";
    let value = variables(json!({ "a": list }));
    let render = |source: &str, value: &Variables| text_template(source).unwrap().render(value).unwrap_err();
    assert_eq!(render(deep, &value), RenderError::TooManySteps(Part::Text));
    assert_eq!(
        render("{{#each a}}{{#if (eq ../a ../a)}}{{/if}}{{/each}}", &value),
        RenderError::TooManySteps(Part::Text)
    );
    let big = variables(json!({ "a": vec![1; 100], "b": "x".repeat(10_000) }));
    assert_eq!(
        render("{{#each a}}{{../b}}{{/each}}", &big),
        RenderError::TooLong(Part::Text)
    );
    let wide = format!("{{{{#each a}}}}{}{{{{/each}}}}", "{{#if ../c}}{{/if}}".repeat(900));
    let value = variables(json!({ "a": vec![1; 1_000], "c": 1 }));
    assert_eq!(render(&wide, &value), RenderError::TooManySteps(Part::Text));
}

#[test]
fn variables_are_bounded() {
    let compiled = text_template("x").unwrap();
    let too_large = Err(RenderError::VariablesTooLarge);
    assert_eq!(
        compiled.render(&variables(json!({"a": "x".repeat(VARIABLES_MAX)}))),
        too_large
    );
    assert_eq!(compiled.render(&variables(json!({"a": vec![0; 40_000]}))), too_large);
    let mut deep = json!(1);
    for _ in 0..VARIABLES_DEPTH_MAX {
        deep = json!([deep]);
    }
    assert_eq!(compiled.render(&variables(json!({ "a": deep }))), too_large);
    assert!(
        compiled
            .render(&variables(json!({"a": "x".repeat(VARIABLES_MAX - 100)})))
            .is_ok()
    );
}

#[test]
fn a_recipients_own_variables_win() {
    let for_all = variables(json!({"a": 1, "b": {"x": 1}}));
    let own = variables(json!({"b": {"y": 2}, "c": 3}));
    let expect = variables(json!({"a": 1, "b": {"y": 2}, "c": 3}));
    assert_eq!(*merged(&for_all, Some(&own)), expect);
    assert_eq!(*merged(&for_all, None), for_all);
}

#[test]
fn html_alone_gets_a_text_part_and_a_given_one_is_kept() {
    let rendered = |text: Option<&str>| Rendered {
        subject: "s".to_owned(),
        html: Some("<p>a</p>".to_owned()),
        text: text.map(str::to_owned),
    };
    assert_eq!(rendered(None).with_text().text.as_deref(), Some("a\n"));
    assert_eq!(rendered(Some("b")).with_text().text.as_deref(), Some("b"));
    assert_eq!(Rendered::default().with_text().text, None);
}

#[test]
fn a_compiled_template_is_shared_by_threads() {
    fn is_shareable<T: Send + Sync + 'static>() {}
    is_shareable::<Compiled>();
}

/// Pieces of templates, right and wrong ones.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{{a}}",
        "{{{b}}}",
        "{{#if a}}",
        "{{else}}",
        "{{else if b}}",
        "{{/if}}",
        "{{#each l}}",
        "{{/each}}",
        "{{^}}",
        "{{#with a}}",
        "{{/with}}",
        "{{~",
        "~}}",
        "{{",
        "}}",
        "{",
        "}",
        "\\",
        "\\\\",
        "{{!",
        "--",
        "{{!--",
        "--}}",
        "{{this}}",
        "{{../a}}",
        "{{@index}}",
        "{{#unless a}}",
        "{{/unless}}",
        "(eq a b)",
        "\"",
        "'",
        "[",
        "]",
        "|x|",
        "as |i|",
        " ",
        "\n",
        "é",
        "text",
        "{{&a}}",
        "{{{{raw}}}}",
        "{{>p}}",
        "=",
        "{{a.[x y]}}",
        "{{#if (eq a 1)}}",
        "{{^if a}}",
        "{{~else~}}",
        "{{else~}}",
        "{{#each l as |x y|}}",
        "{{x}}",
        "@root.",
        "null",
        "true",
        "-1",
    ]);
    prop::collection::vec(piece, 0..25).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_source_panics_and_whatever_compiles_renders_or_says_why(source in pieces()) {
        if let Ok(compiled) = text_template(&source) {
            for value in [json!({}), json!({"a": 1, "b": "x", "l": [1, {"x": 2}]})] {
                let value = variables(value);
                let missing = compiled.missing(&value);
                match compiled.render(&value) {
                    Ok(_) => prop_assert!(missing.is_empty()),
                    Err(RenderError::Missing(names)) => prop_assert!(!names.is_empty()),
                    Err(RenderError::Failed { detail, .. }) => prop_assert!(false, "{source}: {detail}"),
                    Err(_) => {}
                }
            }
        }
    }

    #[test]
    fn any_value_is_shown_as_it_is(name in "\\PC{0,40}") {
        let rendered = text_template("Hello {{name}}.").unwrap().render(&variables(json!({ "name": name.clone() })));
        prop_assert_eq!(rendered.unwrap().text.unwrap(), format!("Hello {name}."));
    }
}

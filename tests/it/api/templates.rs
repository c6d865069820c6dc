//! Templates: stored in versions, checked when stored, tried out when used.

use posthaste::domain::Content;
use posthaste::store::Store as _;
use serde_json::{Value, json};

use super::bed::Bed;

fn welcome() -> Value {
    json!({
        "alias": "welcome", "subject": "Code for {{name}}",
        "text": "Hello {{name}}, Your verification code is {{code}}",
        "html": "<p>Hello {{name}}, Your verification code is <b>{{code}}</b></p>",
    })
}

fn mail(template: &Value, variables: &Value) -> Value {
    json!({"from": "no-reply@acme.com", "to": "jacky@example.com", "template": template, "variables": variables})
}

#[actix_web::test]
async fn a_template_is_stored_in_versions_and_found_by_id_and_alias() {
    let bed = Bed::new().await;
    let first = bed.post("/v1/templates", &welcome()).await;
    assert_eq!(first.status, 201, "{first:?}");
    let body = first.json();
    let id = body["id"].as_str().expect("an id").to_owned();
    assert_eq!(first.header("location"), Some(format!("/v1/templates/{id}").as_str()));
    assert_eq!((&body["object"], &body["version"]), (&json!("template"), &json!(1)));
    let mut changed = welcome();
    changed["text"] = json!("Hi {{name}}: {{code}}");
    let second = bed.post("/v1/templates", &changed).await.json();
    assert_eq!((&second["id"], &second["version"]), (&json!(id), &json!(2)));
    for reference in ["welcome", &id] {
        let found = bed.get(&format!("/v1/templates/{reference}")).await.json();
        assert_eq!(
            (&found["version"], &found["text"]),
            (&json!(2), &json!("Hi {{name}}: {{code}}"))
        );
        assert_eq!(found["variables"], json!(["code", "name"]));
    }
    assert_eq!(bed.get("/v1/templates/nothing").await.status, 404);
    let mut other = welcome();
    other["alias"] = json!("other");
    bed.post("/v1/templates", &other).await;
    let list = bed.get("/v1/templates?limit=1").await.json();
    assert_eq!(
        (list["data"].as_array().map(Vec::len), &list["has_more"]),
        (Some(1), &json!(true))
    );
}

#[actix_web::test]
async fn what_does_not_compile_is_not_stored() {
    let bed = Bed::new().await;
    let with = |name: &str, value: Value| {
        let mut template = welcome();
        template[name] = value;
        template
    };
    let large = "x".repeat(512 * 1024 + 1);
    let table = [
        (with("html", json!("{{#if x}}")), "/html", "invalid_template"),
        (with("text", json!("{{name")), "/text", "invalid_template"),
        (with("subject", json!("{{/if}}")), "/subject", "invalid_template"),
        (with("subject", json!("a\nb")), "/subject", "invalid_character"),
        (with("subject", Value::Null), "/subject", "required"),
        (with("alias", Value::Null), "/alias", "required"),
        (with("alias", json!("No Spaces")), "/alias", "invalid_alias"),
        (
            with("alias", json!("01996f0e-8a51-7c3e-9d2b-5b1c6a0f4e11")),
            "/alias",
            "invalid_alias",
        ),
        (with("html", json!(5)), "/html", "invalid_type"),
        (with("html", json!(large)), "/html", "too_long"),
        (with("name", json!("x")), "/name", "unknown_field"),
        (json!({"alias": "a", "subject": "b"}), "/html", "required"),
    ];
    for (template, pointer, code) in table {
        let answer = bed.post("/v1/templates", &template).await;
        assert_eq!(answer.status, 422, "{pointer} {code}");
        assert_eq!(answer.errors(), [(pointer.to_owned(), code.to_owned())]);
    }
    assert_eq!(bed.get("/v1/templates").await.json()["data"], json!([]));
}

#[actix_web::test]
async fn mail_is_pinned_to_the_version_it_was_accepted_with() {
    let bed = Bed::new().await;
    let id = bed.post("/v1/templates", &welcome()).await.json()["id"].clone();
    let variables = json!({"name": "Jacky", "code": "483921"});
    let long = json!({"id": id, "version": 1, "variables": {"name": "Jim", "code": "1"}});
    for (template, expect) in [(json!("welcome"), 1), (id.clone(), 1)] {
        let answer = bed.post("/send-email", &mail(&template, &variables)).await;
        let id = answer.id().parse().expect("an id");
        let body = bed.memory.body(id).await.expect("memory").expect("stored");
        assert!(matches!(&body.content, Content::Template { version, .. } if *version == expect));
        let message = bed.memory.message(id).await.expect("memory").expect("stored");
        assert_eq!(message.subject, "Code for Jacky", "rendered for the first recipient");
    }
    bed.post("/v1/templates", &welcome()).await;
    for (template, expect) in [(json!("welcome"), 2), (long, 1)] {
        let answer = bed
            .post("/send-email", &mail(&template, &json!({"name": "Jacky"})))
            .await;
        if expect == 2 {
            assert_eq!(answer.json()["code"], "template_variable_missing");
            continue;
        }
        let body = bed
            .memory
            .body(answer.id().parse().expect("an id"))
            .await
            .expect("memory")
            .expect("stored");
        let Content::Template { version, variables, .. } = &body.content else {
            panic!("a template: {body:?}");
        };
        assert_eq!(
            (*version, &variables["name"]),
            (1, &json!("Jacky")),
            "variables at the top win"
        );
        assert_eq!(variables["code"], "1");
    }
}

#[actix_web::test]
async fn every_missing_variable_is_named() {
    let bed = Bed::new().await;
    bed.post("/v1/templates", &welcome()).await;
    let answer = bed.post("/send-email", &mail(&json!("welcome"), &json!({}))).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (422, Some("template_variable_missing"))
    );
    let pointers: Vec<_> = answer.errors().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, ["/variables/name", "/variables/code"]);
    let mut several = mail(&json!("welcome"), &json!({"code": "1"}));
    several["to"] = json!([
        {"email": "a@example.com", "variables": {"name": "A"}},
        {"email": "b@example.com", "variables": {"nmae": "B"}},
    ]);
    let answer = bed.post("/send-email", &several).await;
    assert_eq!(
        answer.errors(),
        [(
            "/to/1/variables/name".to_owned(),
            "template_variable_missing".to_owned()
        )]
    );
    assert_eq!(bed.accepted().await, 0);
    several["to"][1]["variables"] = json!({"name": "B"});
    assert_eq!(bed.post("/send-email", &several).await.status, 202);
}

#[actix_web::test]
async fn a_variable_cannot_break_out_of_the_subject() {
    let bed = Bed::new().await;
    bed.post("/v1/templates", &welcome()).await;
    for name in ["a\r\nBcc: x@example.com", "a\nb", "a\u{0}b", "a\u{2028}b"] {
        let variables = json!({"name": name, "code": "1"});
        let answer = bed.post("/send-email", &mail(&json!("welcome"), &variables)).await;
        assert_eq!(answer.status, 422, "{name:?}");
        assert_eq!(answer.errors()[0].1, "invalid_character");
    }
    let variables = json!({"name": "x".repeat(2_000), "code": "1"});
    let answer = bed.post("/send-email", &mail(&json!("welcome"), &variables)).await;
    assert_eq!(answer.errors()[0].1, "too_long");
    assert_eq!(bed.accepted().await, 0);
}

#[actix_web::test]
async fn an_unknown_template_is_said_together_with_the_rest() {
    let bed = Bed::new().await;
    bed.post("/v1/templates", &welcome()).await;
    for template in [json!("nothing"), json!({"id": "welcome", "version": 9})] {
        let answer = bed.post("/send-email", &mail(&template, &json!({}))).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (422, Some("template_not_found"))
        );
    }
    let mut both = mail(&json!("nothing"), &json!({}));
    both["from"] = json!("a@unknown.com");
    let answer = bed.post("/send-email", &both).await;
    let codes: Vec<_> = answer.errors().into_iter().map(|(_, code)| code).collect();
    assert_eq!(
        (answer.status, codes),
        (
            422,
            vec!["domain_not_verified".to_owned(), "template_not_found".to_owned()]
        )
    );
    assert_eq!(bed.accepted().await, 0);
}
#[actix_web::test]
async fn the_built_in_verification_code_needs_no_template_of_ones_own() {
    let bed = Bed::new().await;
    let template = json!("verification-code");
    let answer = bed
        .post(
            "/send-email",
            &mail(&template, &json!({"name": "Jacky", "code": "483921"})),
        )
        .await;
    let body = bed
        .memory
        .body(answer.id().parse().expect("an id"))
        .await
        .expect("memory")
        .expect("stored");
    assert!(matches!(&body.content, Content::BuiltIn { name, .. } if name == "verification-code"));
    let answer = bed
        .post("/send-email", &mail(&template, &json!({"name": "Jacky"})))
        .await;
    assert_eq!(
        answer.errors(),
        [("/variables/code".to_owned(), "template_variable_missing".to_owned())]
    );
}

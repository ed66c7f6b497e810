//! Rules that cannot be meant.

use super::{config, each_is_refused};

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    each_is_refused(&[
        ("[[rules]]\naccess = \"deny\"", "rules[0].path", "is not given"),
        ("[[rules]]\npath = \"/x\"", "rules[0].access", "is not given"),
        ("[[rules]]\npath = \"/x\"\naccess = \"open\"", "rules[0].access", "`public`"),
        ("[[rules]]\npath = \"x\"\naccess = \"public\"", "rules[0].path", "does not begin with"),
        ("[[rules]]\npath = \"/*.png\"\naccess = \"public\"", "rules[0].path", "inside a segment"),
        ("[[rules]]\npath = \"/a/**/b\"\naccess = \"public\"", "rules[0].path", "before its end"),
        ("[[rules]]\npath = \"/{id}\"\naccess = \"deny\"", "rules[0].path", "{user_id}"),
        ("[[rules]]\npath = \"/a;b\"\naccess = \"public\"", "rules[0].path", "more than one way"),
        (
            "[[rules]]\npath = \"/x\"\nmethods = [\"GET\", \"post\"]\naccess = \"deny\"",
            "rules[0].methods[1]",
            "capitals",
        ),
        ("[[rules]]\nname = \"a b\"\npath = \"/x\"\naccess = \"deny\"", "rules[0].name", "is not a name"),
        ("[[rules]]\nname = \"/x\"\npath = \"/x\"\naccess = \"deny\"", "rules[0].name", "is not a name"),
        ("[[rules]]\nname = \"\"\npath = \"/x\"\naccess = \"deny\"", "rules[0].name", "is not a name"),
        (
            "[[rules]]\nname = \"owner\"\npath = \"/x\"\naccess = \"deny\"",
            "rules[0].name",
            "what no rule is about",
        ),
        ("[[rules]]\npath = \"/auth/x\"\naccess = \"public\"", "rules[0].path", "answered here"),
        ("[[rules]]\npath = \"/u/{user_id}\"\naccess = \"optional\"", "rules[0].path", "own id"),
    ]);
}

#[test]
fn rules_that_open_an_owner_path_are_refused() {
    for path in ["/api/*", "/api/**", "/API/*/x", "/api/health", "/*/*/x", "/**"] {
        for access in ["public", "optional"] {
            let text = format!("[[rules]]\npath = \"{path}\"\naccess = \"{access}\"");
            each_is_refused(&[(&text, "rules[0].path", "opens an owner path")]);
        }
        config(&format!("[[rules]]\npath = \"{path}\"\naccess = \"required\""));
    }
    for path in ["/", "/*", "/apis/**", "/assets/**"] {
        config(&format!("[[rules]]\npath = \"{path}\"\naccess = \"public\""));
    }
}

#[test]
fn rules_that_open_nothing_are_refused_or_warned_of() {
    for path in ["/api", "/api/", "/API", "/api/health.txt"] {
        for access in ["public", "optional"] {
            let text = format!("[[rules]]\npath = \"{path}\"\naccess = \"{access}\"");
            each_is_refused(&[(&text, "rules[0].path", "in vain")]);
        }
    }
    for (path, access, says) in [
        ("/api", "required", Some("/api opens to nobody, session or not")),
        ("/API/", "required", Some("opens to nobody,")),
        ("/api/health.txt", "required", Some("opens to nobody,")),
        ("/api/v1/**", "required", Some("opens to nobody but the user whose id is \"v1\"")),
        ("/api/{user_id}/**", "required", None),
        ("/api/*/tasks", "required", None),
        ("/api/**", "required", None),
        ("/api/v1/**", "deny", None),
        ("/apis/v1", "required", None),
    ] {
        let config = config(&format!("[[rules]]\npath = \"{path}\"\naccess = \"{access}\""));
        assert_eq!(
            config.dangers.len(),
            usize::from(says.is_some()),
            "{path} {access}: {:?}",
            config.dangers
        );
        let said = config
            .dangers
            .iter()
            .all(|line| line.starts_with("rules[0].path: ") && line.contains(says.unwrap_or_default()));
        assert!(said, "{path} {access}: {:?}", config.dangers);
    }
}

#[test]
fn an_earlier_rule_does_not_excuse_opening_everything() {
    let text = "[[rules]]\npath = \"/api/**\"\naccess = \"required\"\n[[rules]]\npath = \"/**\"\naccess = \"public\"";
    each_is_refused(&[(text, "rules[1].path", "before this one does not help")]);
}

fn rules(list: &[(&str, &str)]) -> String {
    let table = |(path, methods): &(&str, &str)| {
        format!("[[rules]]\npath = \"{path}\"\nmethods = [{methods}]\naccess = \"required\"\n")
    };
    list.iter().map(table).collect::<String>()
}

#[test]
fn rules_that_an_earlier_one_hides_are_refused() {
    for list in [
        [("/a/**", ""), ("/a/b", "")],
        [("/a/**", ""), ("/a/b", "\"GET\"")],
        [("/a/*", "\"GET\", \"PUT\""), ("/a/b", "\"PUT\"")],
    ] {
        each_is_refused(&[(&rules(&list), "rules[1].path", "can never match: rules[0]")]);
    }
    each_is_refused(&[(
        &rules(&[("/a", "\"GET\""), ("/a", "\"GET\"")]),
        "rules[1].path",
        "the same as rules[0]",
    )]);
    let by_two = rules(&[("/a", "\"GET\""), ("/*", "\"PUT\""), ("/a", "\"GET\", \"PUT\"")]);
    each_is_refused(&[(&by_two, "rules[2].path", "can never match")]);
    for list in [
        [("/a/b", ""), ("/a/**", "")],
        [("/a/**", "\"GET\""), ("/a/b", "")],
        [("/a/**", "\"GET\""), ("/a/b", "\"GET\", \"PUT\"")],
        [("/a/{user_id}", ""), ("/a/*", "")],
    ] {
        config(&rules(&list));
    }
}

#[test]
fn an_earlier_rule_that_begins_with_any_segment_hides_too_and_the_first_of_them_is_named() {
    for list in [[("/*/b", ""), ("/a/*", ""), ("/a/b", "")], [("/a/*", ""), ("/*/b", ""), ("/a/b", "")]] {
        each_is_refused(&[(&rules(&list), "rules[2].path", "can never match: rules[0]")]);
    }
    config(&rules(&[("/a/*", ""), ("/b/*", ""), ("/*/c", "")]));
}

#[test]
fn more_rules_than_can_be_counted_are_refused() {
    let list = "[[rules]]\npath = \"/x\"\naccess = \"deny\"\n".repeat(10_001);
    each_is_refused(&[(&list, "rules", "are 10001, more than 10000")]);
}

//! The description of the API (OpenAPI 3.1), written by hand in `schema.json`. Tests hold it against the router and the
//! table of codes, and `scripts/conformance` against a running server.

/// The document.
pub(super) const DOCUMENT: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;
    use crate::http::error::CODES;
    use crate::http::route::TABLE;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn keys(value: &Value) -> Vec<&str> {
        let object = value.as_object().unwrap();
        object.keys().map(String::as_str).collect()
    }

    #[test]
    fn schema_and_router_have_the_same_paths_and_methods() {
        let document = document();
        let described: BTreeMap<_, BTreeSet<_>> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, methods)| {
                let methods = keys(methods).into_iter().map(str::to_uppercase);
                (path.as_str(), methods.collect())
            })
            .collect();
        // The document says of HEAD and OPTIONS that they are everywhere.
        let routed: BTreeMap<_, BTreeSet<_>> = TABLE
            .iter()
            .map(|entry| {
                let methods = entry.allow.split(", ");
                let own = methods.filter(|method| !matches!(*method, "HEAD" | "OPTIONS"));
                (entry.template, own.map(str::to_owned).collect())
            })
            .collect();

        assert_eq!(described, routed);
        for entry in TABLE {
            let has = |wanted: &str| entry.allow.split(", ").any(|method| method == wanted);
            assert_eq!(has("HEAD"), has("GET"), "{}", entry.template);
            assert!(has("OPTIONS"), "{}", entry.template);
        }
    }

    #[test]
    fn schema_and_code_have_the_same_codes() {
        let document = document();
        let described: BTreeSet<_> = document["components"]["schemas"]["Code"]["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|code| {
                let text = |key: &str| code[key].as_str().unwrap().to_owned();
                (text("const"), text("description"))
            })
            .collect();
        let known: BTreeSet<_> = CODES
            .iter()
            .map(|code| {
                let when = format!("{}: {}", code.status.as_u16(), code.when);
                (code.name.to_owned(), when)
            })
            .collect();

        assert_eq!(described, known);
        assert_eq!(known.len(), CODES.len(), "a code stands twice");
    }

    #[test]
    fn every_status_of_a_code_is_described_somewhere() {
        let document = document();
        let operations = document["paths"].as_object().unwrap().values();
        let mut described: BTreeSet<&str> = operations
            .flat_map(|methods| methods.as_object().unwrap().values())
            .flat_map(|operation| keys(&operation["responses"]))
            .collect();
        // Methods and paths that are not there have no operation.
        described.insert("405");
        for code in CODES {
            let status = code.status.as_u16().to_string();
            assert!(described.contains(status.as_str()), "{}", code.name);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut left = vec![&document];
        while let Some(value) = left.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                        let pointer = target.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{target}");
                    }
                    left.extend(fields.values());
                }
                Value::Array(values) => left.extend(values),
                _ => {}
            }
        }
    }

    #[test]
    fn readme_lists_the_codes() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let row = |line: &&str| line.starts_with("| `") && line.matches('|').count() == 4;
        let section = readme.split("### Codes").nth(1).unwrap_or_default();
        let section = section.split("\n#").next().unwrap_or_default();
        let listed: Vec<_> = section.lines().filter(row).collect();
        let known: Vec<_> = CODES
            .iter()
            .map(|code| {
                let (name, status) = (code.name, code.status.as_u16());
                format!("| `{name}` | {status} | {} |", code.when)
            })
            .collect();

        assert_eq!(listed.join("\n"), known.join("\n"));
    }
}

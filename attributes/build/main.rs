//! Writes the types: which ones there are says `plan.rs`, how they look `write.rs`.
//!
//! They are put into modules of a few types each, with a table of them for the tests. The build
//! fails if a pair of attributes is neither in a type nor among those that serde forbids, so that
//! the plan cannot lose one.

mod model;
mod pairs;
mod plan;
mod write;

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use plan::Group;

/// So many types are a module, and a test.
const MODULE: usize = 16;

fn main() {
    println!("cargo::rerun-if-changed=build");
    let out = env::var("OUT_DIR").expect("cargo names a directory");
    let out = Path::new(&out);
    let groups = plan::groups();
    let summary = pairs::check(&groups);

    let mut modules = String::new();
    for area in ["structs", "enums"] {
        let (mut tests, mut rules) = (String::new(), String::new());
        for group in groups.iter().filter(|group| group.area == area) {
            for (number, types) in group.types.chunks(MODULE).enumerate() {
                let name = format!("{}_{}", group.name, number + 1);
                module(out, &name, types);
                let path = out.join(format!("{name}.rs"));
                writeln!(modules, "#[path = {path:?}]\npub mod {name};").unwrap();
                test(&mut tests, &name, types);
                rule(&mut rules, &name, types);
            }
        }
        fs::write(out.join(format!("test_{area}.rs")), tests).unwrap();
        fs::write(out.join(format!("rules_{area}.rs")), rules).unwrap();
    }
    nested(out, &groups);
    let summary =
        format!("/// As the build has counted.\npub const SUMMARY: &str = {summary:?};\n");
    fs::write(out.join("modules.rs"), modules + &summary).unwrap();
}

fn module(out: &Path, name: &str, types: &[model::Container]) {
    let mut text = "#![allow(clippy::all, unused, unreachable_patterns)]\n\n".to_owned();
    text.push_str("use crate::generated::*;\n\n");
    for container in types {
        text.push_str(&write::container(container));
    }
    fs::write(out.join(format!("{name}.rs")), text).unwrap();
}

/// A test of a pool with the types of a module.
fn test(tests: &mut String, module: &str, types: &[model::Container]) {
    writeln!(tests, "#[tokio::test]\nasync fn {module}() {{").unwrap();
    writeln!(tests, "    let mut round = Round::new({module:?});").unwrap();
    for model::Container { name, .. } in types {
        writeln!(tests, "    round.check::<types::{module}::{name}>().await;").unwrap();
    }
    writeln!(tests, "    round.end();\n}}\n\nprocpool::register!(").unwrap();
    for model::Container { name, .. } in types {
        writeln!(tests, "    identity::<types::{module}::{name}>,").unwrap();
        writeln!(tests, "    identity::<Vec<Nest<types::{module}::{name}>>>,").unwrap();
    }
    writeln!(tests, ");\n").unwrap();
}

/// A test of the expectation of these types.
fn rule(rules: &mut String, module: &str, types: &[model::Container]) {
    writeln!(rules, "#[test]\nfn {module}() {{").unwrap();
    for model::Container { name, .. } in types {
        writeln!(rules, "    holds::<types::{module}::{name}>();").unwrap();
    }
    writeln!(rules, "}}\n").unwrap();
}

/// Each holder with several types of each group inside.
fn nested(out: &Path, groups: &[Group]) {
    let mut paths = Vec::new();
    for group in groups {
        for (number, types) in group.types.chunks(MODULE).enumerate() {
            for container in types {
                let module = format!("{}_{}", group.name, number + 1);
                paths.push(format!("types::{module}::{}", container.name));
            }
        }
    }
    let (mut tests, mut rules) = (String::new(), String::new());
    for (number, holder) in plan::HOLDERS.iter().enumerate() {
        let step = paths.len() / plan::HELD + 1;
        let held: Vec<_> = paths.iter().skip(number * 3 % step).step_by(step).collect();
        let test = holder.to_lowercase();
        writeln!(tests, "#[tokio::test]\nasync fn {test}() {{").unwrap();
        writeln!(tests, "    let mut round = Round::new({test:?});").unwrap();
        writeln!(rules, "#[test]\nfn {test}() {{").unwrap();
        for path in &held {
            writeln!(tests, "    round.check_alone::<{holder}<{path}>>().await;").unwrap();
            writeln!(rules, "    holds::<{holder}<{path}>>();").unwrap();
        }
        writeln!(tests, "    round.end();\n}}\n\nprocpool::register!(").unwrap();
        writeln!(rules, "}}\n").unwrap();
        for path in &held {
            writeln!(tests, "    identity::<{holder}<{path}>>,").unwrap();
        }
        writeln!(tests, ");\n").unwrap();
    }
    fs::write(out.join("test_nested.rs"), tests).unwrap();
    fs::write(out.join("rules_nested.rs"), rules).unwrap();
}

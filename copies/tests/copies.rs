//! Programs with several copies of procpool.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the program prints, which says each thing twice: by the start methods.
fn run(plugins: &[&Path], forget: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_procpool-copies"));
    command.env("PLUGINS", std::env::join_paths(plugins).unwrap()).env_remove("FORGET");
    if forget {
        command.env("FORGET", "");
    }
    command.output().unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

const BY_ONE_METHOD: &str = "Ok(42)\nOk(144)\nOk([36, 18])\n";
const PROCESSES: &str = "Ok([8, 16])\n";

#[test]
fn two_versions_in_one_program_have_pools_also_in_each_others_tasks() {
    let output = run(&[], false);
    let wanted = [BY_ONE_METHOD, BY_ONE_METHOD, PROCESSES].concat();
    assert_eq!(text(&output.stdout), wanted, "{}", text(&output.stderr));
}

/// The library, which cargo has built beside this test.
fn plugin() -> PathBuf {
    let name =
        format!("{}procpool_plugin{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    std::env::current_exe().unwrap().with_file_name(name)
}

/// Another library of the same contents.
struct Copied(PathBuf);

impl Copied {
    fn of(library: &Path) -> Self {
        let name = format!("procpool_plugin_{}.so", std::process::id());
        let copy = std::env::temp_dir().join(name);
        std::fs::copy(library, &copy).unwrap();
        Self(copy)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn libraries_with_copies_of_their_own_have_pools_in_the_same_program() {
    let copied = Copied::of(&plugin());
    let output = run(&[&plugin(), &copied.0], false);
    let by_one_method = [BY_ONE_METHOD, "Ok(42)\nOk(42)\n"].concat();
    let wanted = [&*by_one_method, &*by_one_method, PROCESSES].concat();
    assert_eq!(text(&output.stdout), wanted, "{}", text(&output.stderr));
}

#[test]
fn a_version_whose_init_was_forgotten_is_told_so() {
    let output = run(&[], true);
    let stdout = text(&output.stdout);
    assert!(stdout.starts_with("Ok(42)\nErr(\""), "{stdout}");
    assert_eq!(
        stdout.matches("reached user code instead of `procpool::init()`").count(),
        5,
        "{stdout}"
    );
}

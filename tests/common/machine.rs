//! A virtual machine that runs a program as its first process, for what a container's kernel does
//! not let tests have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EMULATOR: &str = "qemu-system-x86_64";

/// What the program prints on such a machine; else why there is none, to be printed.
pub(crate) fn run_as_first(program: &Path) -> Result<String, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("skipped: it needs a machine of x86-64".to_owned());
    }
    let kernel =
        kernel().ok_or("skipped: there is no kernel to boot, PROCPOOL_TEST_KERNEL names none")?;
    let directory = std::env::temp_dir().join(format!("procpool-machine-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let initrd = directory.join("initrd");
    fs::write(&initrd, archive(program, &directory)).unwrap();
    let mut machine = Command::new(EMULATOR);
    machine.args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]);
    machine.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "3072"]);
    machine.args(["-append", "console=ttyS0 loglevel=1 panic=-1"]);
    let output = machine.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).output();
    fs::remove_dir_all(directory).unwrap();
    let output = output.unwrap_or_else(|error| panic!("{EMULATOR}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The image that a variable names.
fn kernel() -> Option<PathBuf> {
    let named = std::env::var_os("PROCPOOL_TEST_KERNEL").map(PathBuf::from);
    named.inspect(|kernel| assert!(kernel.exists(), "there is no kernel {}", kernel.display()))
}

/// The program with its libraries, in the format that a kernel unpacks (`newc` of cpio).
fn archive(program: &Path, place: &Path) -> Vec<u8> {
    let stripped = place.join("stripped");
    let is_stripped = Command::new("strip").arg("-o").arg(&stripped).arg(program).status();
    let program =
        if is_stripped.is_ok_and(|status| status.success()) { &stripped } else { program };
    let mut archive = Archive(Vec::new());
    archive.add("init", 0o100_755, &fs::read(program).unwrap());
    for library in libraries(program) {
        let mut above: Vec<_> = library.parent().unwrap().ancestors().collect();
        above.pop(); // the root
        for directory in above.into_iter().rev() {
            archive.add(inside(directory), 0o40_755, &[]);
        }
        archive.add(inside(&library), 0o100_755, &fs::read(&library).unwrap());
    }
    archive.add("dev", 0o40_755, &[]);
    archive.add_console();
    archive.add("TRAILER!!!", 0, &[]);
    archive.0
}

fn inside(path: &Path) -> &str {
    path.to_str().unwrap().trim_start_matches('/')
}

/// As the loader says.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

struct Archive(Vec<u8>);

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.put(name, mode, (0, 0), content);
    }

    /// What the first process prints to.
    fn add_console(&mut self) {
        self.put("dev/console", 0o20_600, (5, 1), &[]);
    }

    fn put(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let length = u32::try_from(content.len()).unwrap();
        let name_length = u32::try_from(name.len() + 1).unwrap();
        let inode = u32::try_from(self.0.len()).unwrap(); // any that no other one has
        let numbers = [inode, mode, 0, 0, 1, 0, length, 0, 0, device.0, device.1, name_length, 0];
        self.0.extend(b"070701");
        for number in numbers {
            self.0.extend(format!("{number:08x}").bytes());
        }
        self.0.extend(name.bytes().chain([0]));
        self.pad();
        self.0.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

//! Which program a child is to run that is to be like this process.
//!
//! ```text
//! ./prog                     /proc/self/exe   started again as it is
//! ld-linux.so ./prog         the loader       started again with what it was given
//! valgrind, qemu-user, ...   the tool         ./prog is started, by its path
//! python, with a library     python           started again, for want of anything better
//! ```

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use libc::{PT_LOAD, c_int, c_void, dl_iterate_phdr, dl_phdr_info};
use rustix::fs::{Access, access};

use crate::sys::carrier::Carrier;

/// Where this code is, if that is not in the program that runs. Looked at once: after that the
/// process may have closed the door to `/proc`.
pub(crate) fn carrier() -> Option<&'static Carrier> {
    static CARRIER: OnceLock<Option<Carrier>> = OnceLock::new();
    CARRIER.get_or_init(find_carrier).as_ref()
}

/// Both are as the kernel names files, so that they can be compared wherever the files are: in a
/// layered file system the numbers of one file differ.
fn find_carrier() -> Option<Carrier> {
    let here = find_carrier as fn() -> _ as usize;
    let code = mapped_file(&fs::read("/proc/self/maps").ok()?, here)?;
    // Tools that run programs have an answer of their own for `/proc/self/exe`, which is not what
    // is started by that name.
    let program = fs::read_link("/proc/thread-self/exe").or_else(|_| fs::read_link(OWN)).ok()?;
    let is_library = !is_in_main_program(here);
    (code != program).then_some(Carrier { program, code, is_library })
}

const OWN: &str = "/proc/self/exe";

/// The file that is mapped at an address.
fn mapped_file(maps: &[u8], address: usize) -> Option<PathBuf> {
    let line = maps.split(|byte| *byte == b'\n').find(|line| {
        let mut bounds = line.splitn(3, |byte| !byte.is_ascii_hexdigit());
        let mut next = || usize::from_str_radix(str::from_utf8(bounds.next()?).ok()?, 16).ok();
        next().is_some_and(|start| start <= address) && next().is_some_and(|end| address < end)
    })?;
    // The path begins with the only slash of the line; what is no file has none.
    let path = &line[line.iter().position(|byte| *byte == b'/')?..];
    let text = path.to_vec();
    Some(OsString::from_vec(unescape(text)).into())
}

/// The end of a line is the only thing that is written in another way there.
fn unescape(mut path: Vec<u8>) -> Vec<u8> {
    while let Some(at) = path.windows(4).position(|window| window == b"\\012") {
        path.splice(at..at + 4, *b"\n");
    }
    path
}

/// Whether an address belongs to what the loader has begun with, and not to a library.
#[expect(unsafe_code, reason = "the loader tells what it has loaded to a callback in C")]
fn is_in_main_program(address: usize) -> bool {
    struct Question {
        address: usize,
        answer: bool,
    }

    unsafe extern "C" fn look(info: *mut dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
        // SAFETY: the loader's entry is valid during the call, with as many headers as it says; the
        // question is that of below, which nobody else has meanwhile.
        let (info, question, headers) = unsafe {
            let headers = std::slice::from_raw_parts((*info).dlpi_phdr, (*info).dlpi_phnum.into());
            (&*info, &mut *data.cast::<Question>(), headers)
        };
        let number = |number| usize::try_from(number).unwrap_or(0);
        question.answer = headers.iter().filter(|header| header.p_type == PT_LOAD).any(|header| {
            let start = number(info.dlpi_addr).wrapping_add(number(header.p_vaddr));
            question.address.wrapping_sub(start) < number(header.p_memsz)
        });
        1 // the main program comes first, and that was it
    }

    let mut question = Question { address, answer: false };
    // SAFETY: the callback does not unwind, and gets the question, which outlives the call.
    unsafe { dl_iterate_phdr(Some(look), (&raw mut question).cast()) };
    question.answer
}

/// This process's own program, as a child that has the same name.
pub(crate) fn own_command() -> io::Result<Command> {
    let carried = carrier().filter(|carrier| !carrier.is_library);
    if let Some(Carrier { program, code, .. }) = carried
        && access(code, Access::EXISTS).is_ok()
    {
        if let Some(options) = loader_options(program, code) {
            let mut command = Command::new(own_executable()?);
            command.args(options).arg(code);
            return Ok(command);
        }
        if access(code, Access::EXEC_OK).is_ok() {
            return Ok(named(Command::new(code)));
        }
    }
    own_executable().map(|program| named(Command::new(program)))
}

fn named(mut command: Command) -> Command {
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command
}

/// What the loader was given before the program, if it has started that: another path to its
/// libraries, most often, without which it may not run.
fn loader_options(loader: &Path, program: &Path) -> Option<Vec<OsString>> {
    let name = loader.file_name()?.as_bytes();
    if !(name.starts_with(b"ld") && name.windows(3).any(|part| part == b".so")) {
        return None;
    }
    let line = fs::read("/proc/self/cmdline").ok()?;
    let words = line.strip_suffix(b"\0")?.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let mut words: Vec<_> = words.map(OsStr::to_owned).collect();
    // It has taken its own away from what the program sees, where its own name comes first.
    let at = words.len().checked_sub(std::env::args_os().len())?;
    let is_it = Path::new(words.get(at)?).file_name() == program.file_name();
    words.truncate(at);
    (is_it && at > 0).then(|| words.split_off(1))
}

/// The running executable, named in a way that still finds the same build after the file has been
/// replaced or deleted.
fn own_executable() -> io::Result<PathBuf> {
    if let Err(error) = fs::symlink_metadata(OWN) {
        let text = format!(
            "`{OWN}`, by which this program would be started again, is not there: {error}; mount \
             `/proc`, or name the program by `Builder::worker_command`"
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(OWN.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_its_own_has_no_carrier() {
        assert_eq!(carrier(), None);
        assert!(is_in_main_program(find_carrier as fn() -> _ as usize));
        assert!(!is_in_main_program(0));
    }

    #[test]
    fn the_file_at_an_address_is_found() {
        let maps = b"55e0-55f0 r--p 00000000 fe:01 1234                 /usr/bin/a program\n\
            7fff0000-7fff1000 rw-p 00000000 00:00 0 \n\
            7fff1000-7fff2000 r-xp 00001000 fe:01 77      /lib/new\\012line.so (deleted)\n\
            7fff2000-7fff3000 rw-p 00000000 00:00 0                          [stack]\n";
        let file = |address| mapped_file(maps, address);
        assert_eq!(file(0x55e0), Some("/usr/bin/a program".into()));
        assert_eq!(file(0x55f0), None);
        assert_eq!(file(0x7fff_0fff), None);
        assert_eq!(file(0x7fff_1000), Some("/lib/new\nline.so (deleted)".into()));
        assert_eq!(file(0x7fff_2fff), None);
    }

    #[test]
    fn only_a_loader_has_options() {
        let program = std::env::current_exe().unwrap();
        let loader = Path::new("/lib64/ld-linux-x86-64.so.2");
        assert_eq!(loader_options(loader, &program), None); // it was not started by it
        assert_eq!(loader_options(Path::new("/usr/bin/valgrind"), &program), None);
    }
}

//! Who holds a lock, and whether it still lives.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// This process as one word: its id, and the low half of the instant it started at, so that a later process
/// with the same id is another. Never zero.
pub(super) fn me() -> u64 {
    let Some(cell) = cell() else { return identity() };
    match cell.load(Ordering::Relaxed) {
        0 => {
            let me = identity();
            cell.store(me, Ordering::Relaxed);
            me
        }
        me => me,
    }
}

/// Whether the process of a word is gone for sure.
pub(super) fn is_dead(owner: u64) -> bool {
    if owner == me() {
        return false;
    }
    let start = owner & u64::from(u32::MAX);
    let Some(pid) = i32::try_from(owner >> 32).ok().and_then(Pid::from_raw) else {
        // No process has such an id: the word was never written by us.
        return true;
    };
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return true;
    }
    match stat(&pid.as_raw_nonzero().to_string()) {
        // A process that was killed and that nobody has waited for yet does nothing any more, unless only its
        // first thread has ended.
        Some(stat) if start != 0 => stat.start != start || (stat.ended && stat.threads <= 1),
        _ => false,
    }
}

/// A number for the space that process ids belong to; zero where there are no such spaces.
pub(super) fn namespace() -> u64 {
    let link = std::fs::read_link("/proc/self/ns/pid").ok();
    let digits: Option<String> = link.map(|l| l.to_string_lossy().chars().filter(char::is_ascii_digit).collect());
    digits.and_then(|d| d.parse().ok()).unwrap_or(0)
}

fn identity() -> u64 {
    let pid = std::process::id();
    // Where `/proc` shows other processes than ours, starts are not compared.
    let start = stat("self").filter(|s| s.pid == pid).map_or(0, |s| s.start);
    u64::from(pid) << 32 | start
}

struct Stat {
    pid: u32,
    ended: bool,
    threads: u32,
    /// In ticks since the host started; the low half.
    start: u64,
}

/// What `/proc/<pid>/stat` says (proc(5)). `None` where there is no such file.
fn stat(pid: &str) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses, which may hold anything.
    let (pid, rest) = text.split_once(' ')?;
    let fields: Vec<&str> = rest.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Stat {
        pid: pid.parse().ok()?,
        ended: matches!(*fields.first()?, "Z" | "X" | "x"),
        threads: fields.get(17)?.parse().ok()?,
        start: fields.get(19)?.parse::<u64>().ok()? & u64::from(u32::MAX),
    })
}

/// A word of this process that is zero again in a forked child, which is another process and must not sign
/// with its parent's name. `None` where the system cannot do that; then the id is asked for every time.
fn cell() -> Option<&'static AtomicU64> {
    static CELL: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    *CELL.get_or_init(super::map::wiped_on_fork)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Command, Stdio};

    use super::*;

    fn word_of(pid: u32) -> u64 {
        u64::from(pid) << 32 | stat(&pid.to_string()).unwrap().start
    }

    #[test]
    fn the_living_are_told_from_the_dead() {
        assert!(!is_dead(me()));
        assert!(is_dead(me() ^ 1), "one of this id that started at another time");
        assert_eq!(me() >> 32, u64::from(std::process::id()));
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let word = word_of(child.id());
        assert!(!is_dead(word));
        child.kill().unwrap();
        // A zombie until it is waited for; how soon it becomes one is the system's affair.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !is_dead(word) {
            assert!(std::time::Instant::now() < until, "a killed process counts as living");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(is_dead(word));
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[allow(unsafe_code, reason = "to look at a child between fork and exec")]
    fn a_forked_child_does_not_sign_with_its_parents_name() {
        use std::os::unix::process::CommandExt;
        let parent = me();
        let mut child = Command::new("true");
        let look = move || {
            let is_own = me() != parent && me() >> 32 == u64::from(std::process::id());
            if is_own {
                Ok(())
            } else {
                Err(std::io::ErrorKind::AlreadyExists.into())
            }
        };
        // SAFETY: between fork and exec it reads a file of the system, and takes no lock of this program's.
        unsafe { child.pre_exec(look) };
        assert!(child.status().unwrap().success());
        assert_eq!(me(), parent);
    }

    #[test]
    fn odd_names_do_not_confuse() {
        let tail = "S 1 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 7 0 4294967299 1 1";
        let found = parse(&format!("42 (a) b (Z ) {tail}")).unwrap();
        assert_eq!((found.pid, found.ended, found.threads, found.start), (42, false, 7, 3));
        assert!(parse("").is_none() && parse("1 (x").is_none() && parse("1 (x) S 1").is_none());
    }
}

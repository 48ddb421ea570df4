//! How a worker locks itself in, before it reads a byte of a stranger's. No way back.
//!
//! The order matters; each step was tripped over: Landlock needs a file descriptor, so it comes before the limit on
//! descriptors; seccomp forbids all of the others, so it comes last. Works without privileges, also in a container
//! without capabilities. What each step takes away is listed where it is done.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The first descriptor behind the standard streams.
const FIRST_INHERITED: libc::c_int = 3;

/// Where a process says how gladly it is ended when memory runs out.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";
/// Before the server, which holds everybody's data; behind whoever asks to be the first. Source: `proc(5)`, up to 1000.
const OOM_SCORE_ADDED: &str = "500";

/// First phase: keeps the three descriptors of its start and no other, is ended for lack of memory before its parent and
/// with it, has and gains no privileges, leaves no core, writes no file, takes bounded memory.
///
/// # Errors
///
/// The first step that the kernel refuses.
pub(super) fn bound(memory_bytes_max: u64) -> io::Result<()> {
    step("close_range", close_inherited())?;
    // Where there is no /proc to write to, the kernel decides as it likes.
    let _ = std::fs::write(OOM_SCORE, OOM_SCORE_ADDED);
    step("capset", drop_capabilities())?;
    let death_signal = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    step("PR_SET_PDEATHSIG", death_signal)?;
    step(
        "PR_SET_NO_NEW_PRIVS",
        rustix::thread::set_no_new_privs(true),
    )?;
    // Not dumpable: no other process of this user may look into it, and its /proc files belong to root.
    let dumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    step("PR_SET_DUMPABLE", dumpable)?;
    step("RLIMIT_CORE", limit(Resource::Core, 0))?;
    step("RLIMIT_FSIZE", limit(Resource::Fsize, 0))?;
    step("RLIMIT_AS", limit(Resource::As, memory_bytes_max))?;
    ignore_requests_to_end();
    Ok(())
}

/// The same outcome; an error says of which step it is.
fn step<T, E: Into<io::Error>>(name: &str, outcome: Result<T, E>) -> io::Result<T> {
    outcome.map_err(|error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{name}: {error}"))
    })
}

/// Closes what the server was started with and did not mark as its own: a listener of the service manager, a log file, a
/// shell's pipe.
fn close_inherited() -> io::Result<()> {
    let (first, last, flags) = (FIRST_INHERITED, libc::c_uint::MAX, 0);
    #[expect(unsafe_code, reason = "the C library's way to close many descriptors")]
    // SAFETY: this process has opened nothing yet that it uses later: it talks over its standard streams.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // Kernels before 5.9 do not have the call, and some containers refuse it.
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => close_listed(),
        _ => Err(error),
    }
}

/// The same, one by one.
fn close_listed() -> io::Result<()> {
    let mut listed = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        listed.push(entry?.file_name());
    }
    let numbers = listed.iter().filter_map(|name| name.to_str()?.parse().ok());
    for number in numbers.filter(|number: &libc::c_int| *number >= FIRST_INHERITED) {
        #[expect(unsafe_code, reason = "closes what no value of this process owns")]
        // SAFETY: as above. The directory that was read is closed already: its number is an error, which changes nothing.
        unsafe {
            libc::close(number);
        }
    }
    Ok(())
}

/// Gives up what a server has that runs as root. Where there is nothing to give up, nothing is asked for: filters of
/// services forbid the call.
fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    if rustix::thread::capabilities(None)? == none {
        return Ok(());
    }
    rustix::thread::set_capabilities(None, none)
}

/// Whoever asks the server to end, from a terminal or a service manager, often asks all of its processes. The server
/// lets its workers finish, and they end with it.
fn ignore_requests_to_end() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        #[expect(unsafe_code, reason = "the C library's way to ignore a signal")]
        // SAFETY: ignoring runs no code of ours; nothing else sets these signals.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

/// Second phase, after warming up: no file, no network, no new descriptor, only the system calls of decoding.
pub(super) fn lock_in() -> (Result<(), String>, Result<String, String>) {
    let landlock = forbid_files();
    let seccomp = limit(Resource::Nofile, 0)
        .map_err(|error| format!("RLIMIT_NOFILE: {error}"))
        .and_then(|()| apply(clone3_unknown()))
        .and_then(|()| apply(filter()));
    (seccomp, landlock)
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let both = Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    Ok(rustix::process::setrlimit(resource, both)?)
}

/// Landlock with every right handled and none granted, as far as the kernel knows them.
fn forbid_files() -> Result<String, String> {
    // The newest rights that the crate knows; older kernels handle fewer of them.
    let abi = ABI::V6;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    match ruleset {
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
            Err("not known to this kernel".to_owned())
        }
        Ok(status) if status.ruleset == RulesetStatus::FullyEnforced => {
            Ok("fully enforced".to_owned())
        }
        Ok(_) => Ok("partially enforced, the kernel is older".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The system calls that decoding needs once everything is warm: memory, locks, time, the socket, the end.
///
/// `restart_syscall`, `rseq` and `set_robust_list` are the C library's; leaving them out kills workers at random.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    // Answered with ENOSYS by the first filter; the stricter of two answers wins, so this one must let it through.
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The allow-list as a program for the kernel: whatever is not on it kills the process.
fn filter() -> Result<BpfProgram, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // Memory, but never executable: no code can be brought in.
    let not_executable = [argument(2, SeccompCmpOp::MaskedEq(PROT_EXEC), 0)?];
    rules.insert(libc::SYS_mmap, vec![rule(&not_executable)?]);
    rules.insert(libc::SYS_mprotect, vec![rule(&not_executable)?]);
    // Some builds of the HEVC decoder work in a thread of their own. A thread, never a process or a namespace.
    let thread = [argument(
        0,
        SeccompCmpOp::MaskedEq(CLONE_THREAD | CLONE_NEWUSER),
        CLONE_THREAD,
    )?];
    rules.insert(libc::SYS_clone, vec![rule(&thread)?]);
    // The C library names threads and mappings.
    let names = [
        rule(&[argument(0, SeccompCmpOp::Eq, PR_SET_NAME)?])?,
        rule(&[argument(0, SeccompCmpOp::Eq, PR_SET_VMA)?])?,
    ];
    rules.insert(libc::SYS_prctl, names.into());
    // `abort` sends its signal to its own thread, and to no other process. No other signal: SIGKILL would look as if
    // somebody else had ended the worker.
    let itself = argument(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?;
    let abort = argument(2, SeccompCmpOp::Eq, SIGABRT)?;
    rules.insert(libc::SYS_tgkill, vec![rule(&[itself, abort])?]);
    program(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// `clone3(2)` passes its flags in memory, where no filter can look. Told that it is unknown, the C library falls back to
/// `clone(2)`, whose flags [`filter`] judges.
fn clone3_unknown() -> Result<BpfProgram, String> {
    let unknown = SeccompAction::Errno(ENOSYS);
    program(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        unknown,
    )
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch = std::env::consts::ARCH.try_into().map_err(told)?;
    SeccompFilter::new(rules, otherwise, listed, arch)
        .map_err(told)?
        .try_into()
        .map_err(told)
}

fn apply(program: Result<BpfProgram, String>) -> Result<(), String> {
    seccompiler::apply_filter(&program?).map_err(told)
}

// Arguments as the kernel compares them: `mmap(2)`, `clone(2)`, `prctl(2)`, `tgkill(2)`, and the error of an unknown call.
const PROT_EXEC: u64 = 0x4;
const CLONE_THREAD: u64 = 0x0001_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const PR_SET_NAME: u64 = 15;
const PR_SET_VMA: u64 = 0x5356_4D41;
const ENOSYS: u32 = 38;
const SIGABRT: u64 = 6;

fn argument(index: u8, operation: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operation, value).map_err(told)
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, String> {
    SeccompRule::new(conditions.to_vec()).map_err(told)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `map_err` wants"
)]
fn told(error: impl ToString) -> String {
    error.to_string()
}

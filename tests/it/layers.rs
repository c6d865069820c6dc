//! The layers: imports go down only, and the pure rooms stay pure.
//!
//! The table here is the law that ARCHITECTURE.md draws. A new room gets a line; an arrow that is not in the table is an
//! error even when it compiles. Changing an existing line is a change of the architecture: a commit of its own, with its
//! reason.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop at the first surprise, like tests"
)]

use std::collections::{BTreeMap, BTreeSet};

use super::source::{RustFile, rust_files, words};

struct Room {
    name: &'static str,
    /// Rooms of lower layers may be imported.
    layer: u8,
    /// Rooms of the same layer that may be imported too.
    beside: &'static [&'static str],
}

const fn room(layer: u8, name: &'static str, beside: &'static [&'static str]) -> Room {
    Room { name, layer, beside }
}

const ROOMS: &[Room] = &[
    // Deliberate bugs, in builds for tests only: any room may hold one.
    room(0, "sabotage", &[]),
    // A value that is replaced as a whole; it knows nothing of what it holds.
    room(0, "current", &[]),
    room(1, "domain", &[]),
    // Pure: values in, decisions or bytes out.
    room(2, "policy", &[]),
    room(2, "mail", &[]),
    room(2, "smtp", &[]),
    // Seams: a trait and its implementations.
    room(3, "clock", &[]),
    room(3, "queue", &[]),
    // One database is both seams, so its implementations live with the records.
    room(3, "store", &["queue"]),
    room(3, "resolver", &["clock"]),
    room(3, "transport", &["clock"]),
    // Reports the depth that a queue gives.
    room(3, "observe", &["queue"]),
    room(4, "actors", &[]),
    room(5, "api", &[]),
    // Fills every part's own settings type, the API's too.
    room(5, "config", &["api"]),
    room(6, "bootstrap", &[]),
    // One store into another; nothing of the engine.
    room(6, "migration", &[]),
    // Takes over what another config says.
    room(6, "reload", &[]),
    room(6, "control", &["bootstrap", "reload"]),
    room(7, "app", &[]),
    room(8, "cli", &[]),
    // Doors, not rooms: the map and the command.
    room(9, "lib", &[]),
    room(9, "main", &["lib"]),
];

/// Rooms of the two lowest layers: no async, I/O, clock, randomness, logging, shared state.
const PURE: [&str; 4] = ["domain", "policy", "mail", "smtp"];

/// Words that no pure room may use, outside its tests.
const IMPURE: &[&str] = &[
    // Async and actors.
    "async",
    "await",
    "tokio",
    "actix",
    "actix_web",
    "futures_util",
    "async_trait",
    // The world outside.
    "fs",
    "io",
    "process",
    "thread",
    "env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "redb",
    "hickory_resolver",
    "reqwest",
    "socket2",
    // Clock and chance.
    "Instant",
    "SystemTime",
    "fastrand",
    "rand",
    "RandomState",
    // Telling anybody.
    "tracing",
    "metrics",
    "println",
    "eprintln",
    "print",
    "eprint",
    "dbg",
    "fail_point",
    // State that callers do not see.
    "thread_local",
    "Mutex",
    "RwLock",
    "OnceLock",
    "OnceCell",
    "LazyLock",
    "LazyCell",
    "Cell",
    "RefCell",
    "DashMap",
    "AtomicBool",
    "AtomicU32",
    "AtomicU64",
    "AtomicUsize",
    // Catching what should not happen.
    "catch_unwind",
];

/// Paths that no pure room may use: their last words alone mean nothing.
const IMPURE_PATHS: &[&str] = &["::now(", "fail::", "log::", "rand::"];

/// What a pure file may use all the same, and why. An exception that nothing needs any more is an error.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "src/mail/render.rs",
        "LazyLock",
        "two template engines without templates, made once, never changed",
    ),
    (
        "src/mail/render.rs",
        "catch_unwind",
        "the template parser panics on some input that a caller may send",
    ),
    (
        "src/mail/render.rs",
        "io",
        "Handlebars writes to an io::Write: ours is memory with a bound",
    ),
];

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for file in rust_files(&["src"]) {
        let from = room_of(&file.path);
        let Some(room) = ROOMS.iter().find(|room| room.name == from) else {
            wrong.push(format!("{}: room {from} has no line in the table", file.path));
            continue;
        };
        for target in imports(&file.code) {
            match ROOMS.iter().find(|room| room.name == target) {
                None => wrong.push(format!("{}: imports {target}, which is no room", file.path)),
                Some(target) if allowed(room, target) => {}
                Some(target) => wrong.push(format!(
                    "{}: {from} (layer {}) imports {} (layer {})",
                    file.path, room.layer, target.name, target.layer
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `super` stays inside a room: so that every import between rooms reads `crate::`, and the table sees it.
#[test]
fn rooms_are_reached_through_the_root() {
    let mut wrong = Vec::new();
    for file in rust_files(&["src"]) {
        let depth = module_depth(&file.path);
        let shipped_lines = file.shipped().lines().count();
        for (line, climbs) in climbs(&file.code) {
            // A module inside the file is one step lower.
            let floor = if line > shipped_lines { depth + 1 } else { depth };
            if climbs >= floor {
                wrong.push(format!("{}:{line}: climbs out of its room", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_of_one_layer_form_no_circle() {
    // With imports going down, a circle could only run inside a layer: so those arrows are taken in order until none is left.
    let mut open: BTreeMap<&str, BTreeSet<&str>> = ROOMS
        .iter()
        .map(|room| (room.name, room.beside.iter().copied().collect()))
        .collect();
    while let Some(free) = open.iter().find(|(_, beside)| beside.is_empty()).map(|(name, _)| *name) {
        open.remove(free);
        open.values_mut().for_each(|beside| {
            beside.remove(free);
        });
    }
    assert!(open.is_empty(), "circles: {open:?}");
    for room in ROOMS {
        for beside in room.beside {
            let other = ROOMS.iter().find(|other| other.name == *beside);
            assert!(
                other.is_some_and(|other| other.layer == room.layer),
                "{}: {beside}",
                room.name
            );
        }
    }
}

#[test]
fn pure_rooms_have_no_async_clock_io_chance_logging_or_hidden_state() {
    let mut wrong = Vec::new();
    let mut needed = BTreeSet::new();
    for file in rust_files(&PURE.map(|room| format!("src/{room}")).each_ref().map(String::as_str)) {
        if file.is_tests() {
            continue;
        }
        for (line, word) in impure_words(&file) {
            match EXCEPTIONS
                .iter()
                .position(|(path, excepted, _)| *path == file.path && *excepted == word)
            {
                Some(exception) => {
                    needed.insert(exception);
                }
                None => wrong.push(format!("{}:{line}: {word}", file.path)),
            }
        }
    }
    let idle = (0..EXCEPTIONS.len()).filter(|exception| !needed.contains(exception));
    wrong.extend(idle.map(|exception| format!("nothing needs the exception {:?}", EXCEPTIONS[exception])));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The simulator must not share a mistake with us: it knows nothing of this package.
#[test]
fn provider_sim_knows_nothing_of_the_engine() {
    let manifest = include_str!("../../provider_sim/Cargo.toml");
    assert!(!manifest.contains("posthaste"), "provider_sim depends on posthaste");
    for file in rust_files(&["provider_sim"]) {
        assert!(words(&file.code).all(|(_, word)| word != "posthaste"), "{}", file.path);
    }
}

#[test]
fn the_tests_of_the_layers_can_fail() {
    let arrow = |from: &str, to: &str| {
        let find = |name: &str| ROOMS.iter().find(|room| room.name == name).unwrap();
        allowed(find(from), find(to))
    };
    assert!(arrow("actors", "policy") && arrow("store", "queue") && arrow("cli", "domain"));
    assert!(!arrow("policy", "actors") && !arrow("queue", "store") && !arrow("policy", "mail"));
    assert_eq!(
        imports("use crate::{api::A, mail::{B, c::D}, smtp}; fn f() { crate::store::x($crate::queue::y) }"),
        BTreeSet::from(["api", "mail", "smtp", "store", "queue"].map(str::to_owned))
    );
    assert_eq!(
        climbs("use super::super::a;\nuse super::b;").collect::<Vec<_>>(),
        [(1, 2), (2, 1)]
    );
    assert_eq!(
        (
            module_depth("src/app.rs"),
            module_depth("src/queue/mod.rs"),
            module_depth("src/queue/types.rs")
        ),
        (1, 1, 2)
    );
}

fn allowed(from: &Room, to: &Room) -> bool {
    to.layer < from.layer || to.name == from.name || from.beside.contains(&to.name)
}

fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap();
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

/// How many modules above a file's own the root is.
fn module_depth(path: &str) -> usize {
    let inside = path.strip_prefix("src/").unwrap().trim_end_matches(".rs");
    inside.split('/').filter(|part| *part != "mod").count()
}

/// The rooms that code names: `crate::room`, `crate::{room, room::…}`, and in the command `posthaste::room`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["crate::", "posthaste::"] {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group)),
                None => found.extend(head(rest)),
            }
        }
    }
    found
}

/// The first words of the items of a `{…}` group.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (0_usize, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' if depth == 0 => {
                heads.extend(head(&group[start..at]));
                start = at + 1;
            }
            '}' if depth == 0 => {
                heads.extend(head(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads
}

fn head(path: &str) -> Option<String> {
    let path = path.trim_start();
    let end = path
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(path.len());
    (end > 0).then(|| path[..end].to_owned())
}

/// Runs of `super::` with their line and length.
fn climbs(code: &str) -> impl Iterator<Item = (usize, usize)> {
    code.lines().enumerate().flat_map(|(line, text)| {
        let mut rest = text;
        let mut runs = Vec::new();
        while let Some(at) = rest.find("super::") {
            rest = &rest[at..];
            let mut steps = 0;
            while let Some(next) = rest.strip_prefix("super::") {
                rest = next;
                steps += 1;
            }
            runs.push((line + 1, steps));
        }
        runs
    })
}

fn impure_words(file: &RustFile) -> impl Iterator<Item = (usize, &str)> {
    let paths = file.shipped().lines().enumerate().flat_map(|(line, text)| {
        let paths = IMPURE_PATHS.iter().filter(move |path| text.contains(**path));
        paths.map(move |path| (line + 1, *path))
    });
    words(file.shipped())
        .filter(|(_, word)| IMPURE.contains(word))
        .chain(paths)
}

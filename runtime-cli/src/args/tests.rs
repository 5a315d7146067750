//! Command lines, good and bad, with what each means.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{COMMANDS, GLOBAL, Matches, find_command, nearest};
use crate::failure::Failure;

/// Splits at blanks; `''` is an empty argument.
fn words(line: &str) -> Vec<OsString> {
    let words = line.split(' ').filter(|word| !word.is_empty());
    words.map(|word| OsString::from(if word == "''" { "" } else { word })).collect()
}

fn parse(line: &str) -> Result<Matches, Failure> {
    let mut args = words(line);
    let name = args.remove(0);
    find_command(name.to_str().unwrap()).expect("a command").parse("orlop", args)
}

/// One line per parse: the flags in the order given, then the operands.
fn shown(matches: &Matches) -> String {
    let flags = matches.values.iter().map(|(long, value)| match value.to_str() {
        Some("") => format!("--{long}"),
        Some(value) => format!("--{long}={value}"),
        None => format!("--{long}=?"),
    });
    let operands = matches.operands.iter().map(|operand| match operand.to_str() {
        Some("") => "''".to_owned(),
        _ => operand.to_string_lossy().into_owned(),
    });
    flags.chain(["|".to_owned()]).chain(operands).collect::<Vec<_>>().join(" ")
}

const GOOD: &[(&str, &str)] = &[
    ("run c1", "| c1"),
    ("run --bundle /b c1", "--bundle=/b | c1"),
    ("run c1 --bundle /b", "--bundle=/b | c1"),
    ("run c1 --bundle=/b", "--bundle=/b | c1"),
    ("run -b /b c1", "--bundle=/b | c1"),
    ("run -b=/b c1", "--bundle=/b | c1"),
    ("run --b /b c1", "--bundle=/b | c1"),
    ("run -bundle /b c1", "--bundle=/b | c1"),
    ("run -bundle=/b c1", "--bundle=/b | c1"),
    ("run --bundle /a --bundle /b c1", "--bundle=/a --bundle=/b | c1"),
    ("run -d c1", "--detach | c1"),
    ("run c1 -detach", "--detach | c1"),
    ("run --detach=true c1", "--detach | c1"),
    ("run --detach=T c1", "--detach | c1"),
    ("run --detach=0 c1", "| c1"),
    ("run --detach --detach=false c1", "| c1"),
    (
        "run -d --keep --no-subreaper --no-pivot --no-new-keyring c1",
        "--detach --keep --no-subreaper --no-pivot --no-new-keyring | c1",
    ),
    ("run --preserve-fds 3 --pid-file p c1", "--preserve-fds=3 --pid-file=p | c1"),
    ("run --pid-file --detach c1", "--pid-file=--detach | c1"),
    ("run --console-socket /s --pidfd-socket /p c1", "--console-socket=/s --pidfd-socket=/p | c1"),
    ("run --trace t.json c1", "--trace=t.json | c1"),
    ("run -- c1", "| c1"),
    ("run -- -c1", "| -c1"),
    ("run -", "| -"),
    ("run ''", "| ''"),
    ("run --bundle= c1", "--bundle | c1"),
    ("run --pid-file=a=b c1", "--pid-file=a=b | c1"),
    ("run --help", "--help |"),
    ("run -h c1 c2", "--help | c1 c2"),
    ("create c1 --bundle /b --pid-file p", "--bundle=/b --pid-file=p | c1"),
    ("start c1", "| c1"),
    ("kill c1", "| c1"),
    ("kill c1 KILL", "| c1 KILL"),
    ("kill -a c1 9", "--all | c1 9"),
    ("kill c1 9 --all", "--all | c1 9"),
    ("delete c1", "| c1"),
    ("delete -f c1 c2 c3", "--force | c1 c2 c3"),
    ("delete c1 --force", "--force | c1"),
    ("state c1", "| c1"),
    ("list", "|"),
    ("list -q", "--quiet |"),
    ("list -f json", "--format=json |"),
    ("list --format=table --quiet", "--format=table --quiet |"),
    ("spec", "|"),
    ("spec --rootless -b /b", "--rootless --bundle=/b |"),
    ("plan", "|"),
    ("plan --bundle /b --format json c1", "--bundle=/b --format=json | c1"),
    ("exec c1 ls", "| c1 ls"),
    ("exec c1 ls -l --tty", "| c1 ls -l --tty"),
    ("exec -t c1 sh", "--tty | c1 sh"),
    ("exec c1 -t sh -c id", "--tty | c1 sh -c id"),
    ("exec c1 -- ls -l", "| c1 ls -l"),
    ("exec -- c1 -ls", "| c1 -ls"),
    ("exec c1 ls -- -l", "| c1 ls -- -l"),
    ("exec -e A=1 -e B=2 c1 env", "--env=A=1 --env=B=2 | c1 env"),
    ("exec --user 1:2 -g 3 -g 4 c1 id", "--user=1:2 --additional-gids=3 --additional-gids=4 | c1 id"),
    ("exec -p p.json -d c1", "--process=p.json --detach | c1"),
    ("exec --cap CAP_KILL --no-new-privs c1 x", "--cap=CAP_KILL --no-new-privs | c1 x"),
    ("exec --cgroup pids:x --ignore-paused c1 x", "--cgroup=pids:x --ignore-paused | c1 x"),
    ("exec --apparmor a --process-label l --cwd / c1 x", "--apparmor=a --process-label=l --cwd=/ | c1 x"),
];

#[test]
fn good_lines() {
    for &(line, expected) in GOOD {
        match parse(line) {
            Ok(matches) => assert_eq!(shown(&matches), expected, "{line}"),
            Err(failure) => panic!("{line}: {failure}"),
        }
    }
}

const BAD: &[(&str, &str)] = &[
    ("run", "orlop run: missing ID"),
    ("run a b", "orlop run: unexpected argument \"b\""),
    ("run -- a --keep", "orlop run: unexpected argument \"--keep\""),
    ("run --nosuch c1", "orlop run: unknown flag --nosuch"),
    ("run -x c1", "orlop run: unknown flag -x"),
    ("run -db /b c1", "orlop run: unknown flag -db"),
    ("run --bundel /b c1", "orlop run: unknown flag --bundel, did you mean --bundle?"),
    ("run --no-pivto c1", "orlop run: unknown flag --no-pivto, did you mean --no-pivot?"),
    (
        "run --root /r c1",
        "orlop run: unknown flag --root, which is a global flag: write it before the command",
    ),
    (
        "run c1 --debug",
        "orlop run: unknown flag --debug, which is a global flag: write it before the command",
    ),
    ("run c1 --bundle", "orlop run: --bundle needs a value: --bundle DIR"),
    ("run c1 -b", "orlop run: --bundle needs a value: --bundle DIR"),
    ("run --detach=maybe c1", "orlop run: --detach is a switch and takes no value \"maybe\""),
    ("run --detach= c1", "orlop run: --detach is a switch and takes no value \"\""),
    ("run --=x c1", "orlop run: unknown flag --"),
    ("run ---keep c1", "orlop run: unknown flag ---keep, did you mean --keep?"),
    ("run --Keep=1 c1 --nO", "orlop run: unknown flag --Keep, did you mean --keep?"),
    ("create", "orlop create: missing ID"),
    ("create -d c1", "orlop create: unknown flag -d"),
    ("create --keep c1", "orlop create: unknown flag --keep"),
    ("start", "orlop start: missing ID"),
    ("start c1 c2", "orlop start: unexpected argument \"c2\""),
    ("kill", "orlop kill: missing ID"),
    ("kill c1 TERM now", "orlop kill: unexpected argument \"now\""),
    ("kill c1 -9", "orlop kill: unknown flag -9"),
    ("delete", "orlop delete: missing ID"),
    ("delete --force", "orlop delete: missing ID"),
    ("delete --forse c1", "orlop delete: unknown flag --forse, did you mean --force?"),
    ("state", "orlop state: missing ID"),
    ("state a b", "orlop state: unexpected argument \"b\""),
    ("list c1", "orlop list: unexpected argument \"c1\""),
    ("list --format", "orlop list: --format needs a value: --format FORMAT"),
    ("spec x", "orlop spec: unexpected argument \"x\""),
    ("plan a b", "orlop plan: unexpected argument \"b\""),
    ("exec", "orlop exec: missing ID"),
    ("exec -t", "orlop exec: missing ID"),
    ("exec --ttty c1 sh", "orlop exec: unknown flag --ttty, did you mean --tty?"),
    ("exec c1 --user", "orlop exec: --user needs a value: --user UID[:GID]"),
];

#[test]
fn bad_lines() {
    for &(line, expected) in BAD {
        let command = line.split(' ').next().unwrap();
        match parse(line) {
            Ok(matches) => panic!("{line} was taken as {}", shown(&matches)),
            Err(failure) => {
                let message = failure.message.unwrap();
                assert_eq!(message, format!("{expected} (see orlop {command} --help)"), "{line}");
                assert_eq!(failure.status, 1, "{line}");
            }
        }
    }
}

#[test]
fn values_are_read_by_type() {
    let fds = |line: &str| parse(line).unwrap().number::<u32>("preserve-fds", "a number of descriptors");
    assert_eq!(fds("run c1"), Ok(None));
    assert_eq!(fds("run --preserve-fds 7 c1"), Ok(Some(7)));
    for bad in ["x", "-1", "4294967296", "1.5", "0x3"] {
        let failure = fds(&format!("run --preserve-fds {bad} c1")).unwrap_err();
        let expected = format!(
            "orlop run: --preserve-fds \"{bad}\" is not a number of descriptors (see orlop run --help)"
        );
        assert_eq!(failure.message, Some(expected));
    }
    let format = |line: &str| parse(line).unwrap().choice("format", &["table", "json"]);
    assert_eq!(format("list"), Ok("table"));
    assert_eq!(format("list -f json"), Ok("json"));
    let message = format("list -f yaml").unwrap_err().message.unwrap();
    assert_eq!(message, "orlop list: --format \"yaml\" is none of table, json (see orlop list --help)");
    let message = parse("run --bundle= c1").unwrap().path("bundle").unwrap_err().message.unwrap();
    assert_eq!(message, "orlop run: --bundle is empty (see orlop run --help)");
    assert_eq!(
        parse("exec -e A -e B=1 c1 x").unwrap().texts("env"),
        Ok(vec!["A".to_owned(), "B=1".to_owned()])
    );
}

#[test]
fn an_id_that_is_no_text_is_refused_and_a_path_that_is_none_is_kept() {
    let bytes = OsStr::from_bytes(b"\xff").to_owned();
    let run = find_command("run").unwrap();
    let matches = run.parse("orlop", vec![OsString::from("--bundle"), bytes.clone(), bytes.clone()]).unwrap();
    assert_eq!(matches.id().unwrap_err().message.unwrap(), "invalid container ID format: \"\u{fffd}\"");
    assert_eq!(matches.path("bundle").unwrap().unwrap().as_os_str(), bytes);
    let message = matches.text("bundle").unwrap_err().message.unwrap();
    assert!(message.contains("is not valid UTF-8"), "{message}");
}

#[test]
fn global_flags_end_at_the_command() {
    let parse = |line| GLOBAL.parse("orlop", words(line));
    let matches = parse("--root /r -debug run --bundle /b c1").unwrap();
    assert_eq!(shown(&matches), "--root=/r --debug | run --bundle /b c1");
    let message = parse("--rot /r list").unwrap_err().message.unwrap();
    assert_eq!(message, "orlop: unknown flag --rot, did you mean --root? (see orlop --help)");
    assert!(parse("-v").unwrap().has("version"));
}

#[test]
fn the_tables_are_consistent() {
    for command in COMMANDS.iter().chain([&GLOBAL]) {
        let mut names: Vec<String> = vec!["help".into(), "h".into()];
        for flag in command.flags {
            names.push(flag.long.to_owned());
            names.extend(flag.short.map(String::from));
            assert!(!flag.help.ends_with('.') && flag.help.len() > 10, "{} --{}", command.name, flag.long);
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "a flag of {} is there twice", command.name);
    }
}

#[test]
fn a_near_name_is_found_and_a_far_one_is_not() {
    let names = || ["run", "state", "start", "delete"].into_iter();
    assert_eq!(nearest("stte", names()), Some("state"));
    assert_eq!(nearest("rnu", names()), Some("run"));
    assert_eq!(nearest("dleete", names()), Some("delete"));
    assert_eq!(nearest("completely", names()), None);
    assert_eq!(nearest("x", names()), None);
}

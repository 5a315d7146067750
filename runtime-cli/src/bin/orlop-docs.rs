//! Writes the manual pages and the shell completions, from the tables that the command itself is parsed by.
//!
//! `orlop-docs DIR` makes `DIR/man` and `DIR/completions`; `make docs` calls it.

#[allow(dead_code, unused_imports)] // parsing is the command's; here only the tables are read
#[path = "../args/mod.rs"]
mod args;
#[allow(dead_code)] // named by `args`
#[path = "../failure.rs"]
mod failure;

use args::{COMMANDS, Command, Flag, Flags, GLOBAL, HELP};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: orlop-docs DIR");
        return ExitCode::FAILURE;
    };
    match write_all(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orlop-docs: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(directory: &Path) -> std::io::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    std::fs::write(man.join("orlop.8"), page_of_program())?;
    for command in COMMANDS {
        std::fs::write(man.join(format!("orlop-{}.8", command.name)), page(command))?;
    }
    std::fs::write(completions.join("orlop.bash"), bash())?;
    std::fs::write(completions.join("_orlop"), zsh())?;
    std::fs::write(completions.join("orlop.fish"), fish())
}

/// The flags of a command, with the one that all have.
fn flags(command: &'static Command) -> impl Iterator<Item = &'static Flag> {
    command.flags.iter().chain([&HELP])
}

/// Text for roff: nothing in it is a request or an escape.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    let guard =
        |line: &str| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() };
    escaped.lines().map(guard).collect::<Vec<_>>().join("\n")
}

fn head(title: &str, summary: &str) -> String {
    format!(
        ".TH {} 8 \"\" \"orlop {}\" \"System Administration\"\n.SH NAME\n{} \\- {}\n",
        title.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        roff(title),
        roff(summary)
    )
}

fn flags_of_page(page: &mut String, command: &'static Command) {
    for flag in flags(command) {
        let short = flag.short.map_or_else(String::new, |letter| format!("\\fB\\-{letter}\\fR, "));
        let value = flag.value.map_or_else(String::new, |value| format!(" \\fI{}\\fR", roff(value)));
        let _ = writeln!(page, ".TP\n{short}\\fB\\-\\-{}\\fR{value}\n{}", roff(flag.long), roff(flag.help));
    }
}

fn page_of_program() -> String {
    let mut page = head("orlop", GLOBAL.summary);
    let _ = write!(
        page,
        ".SH SYNOPSIS\n\\fBorlop\\fR [FLAGS] COMMAND [FLAGS] [ARGUMENTS]\n.SH DESCRIPTION\n.nf\n{}\n.fi\n",
        roff(GLOBAL.about)
    );
    page.push_str(".SH COMMANDS\n");
    for command in COMMANDS {
        let _ = writeln!(
            page,
            ".TP\n\\fB{}\\fR\n{}; see \\fBorlop\\-{}\\fR(8)",
            roff(command.name),
            roff(command.summary),
            roff(command.name)
        );
    }
    page.push_str(".SH FLAGS\nBefore the command:\n");
    flags_of_page(&mut page, &GLOBAL);
    page
}

fn page(command: &'static Command) -> String {
    let title = format!("orlop-{}", command.name);
    let mut page = head(&title, command.summary);
    let _ = write!(
        page,
        ".SH SYNOPSIS\n\\fBorlop {}\\fR [FLAGS] {}\n.SH DESCRIPTION\n{}\n.SH FLAGS\n",
        roff(command.name),
        roff(command.operands),
        roff(command.about)
    );
    flags_of_page(&mut page, command);
    page.push_str(".SH SEE ALSO\n\\fBorlop\\fR(8)\n");
    page
}

/// Whether the first operand is the id of a container that is there.
fn takes_id(command: &Command) -> bool {
    command.operands.starts_with("ID") && !matches!(command.name, "run" | "create" | "restore")
}

/// Whether a value is a path.
fn is_path(flag: &Flag) -> bool {
    matches!(flag.value, Some("DIR" | "FILE" | "PATH"))
}

fn words(command: &'static Command) -> String {
    let long = flags(command).map(|flag| format!("--{}", flag.long));
    long.collect::<Vec<_>>().join(" ")
}

fn bash() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let valued = |paths: bool| {
        let all = COMMANDS.iter().chain([&GLOBAL]).flat_map(|command| command.flags);
        let mut list: Vec<String> = all
            .filter(|flag| flag.value.is_some() && is_path(flag) == paths)
            .map(|flag| format!("--{}", flag.long))
            .collect();
        list.sort();
        list.dedup();
        list.join("|")
    };
    let mut text = format!(
        "# bash completion of orlop; made by orlop-docs.\n_orlop() {{\n    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command= word\n    \
         local commands=\"{}\"\n    COMPREPLY=()\n    for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n        case \" $commands \" in *\" $word \"*) command=$word; break ;; esac\n    done\n    \
         case $prev in\n    {}) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n    {}) return ;;\n    esac\n    case $command in\n",
        names.join(" "),
        valued(true),
        valued(false)
    );
    let _ =
        writeln!(text, "    '') COMPREPLY=($(compgen -W \"$commands {}\" -- \"$cur\")) ;;", words(&GLOBAL));
    for command in COMMANDS {
        let ids = if takes_id(command) { " $(orlop list --quiet 2>/dev/null)" } else { "" };
        let _ = writeln!(
            text,
            "    {}) COMPREPLY=($(compgen -W \"{}{ids}\" -- \"$cur\")) ;;",
            command.name,
            words(command)
        );
    }
    text.push_str("    esac\n}\ncomplete -F _orlop orlop\n");
    text
}

/// Text between single quotes of zsh, in a place where brackets and colons mean something.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

fn zsh_flags(command: &'static Command) -> String {
    let one = |flag: &Flag| {
        let value = flag.value.map_or_else(String::new, |value| {
            format!(":{}:{}", zsh_text(value), if is_path(flag) { "_files" } else { "" })
        });
        format!("        '--{}[{}]{value}'", flag.long, zsh_text(flag.help))
    };
    flags(command).map(one).collect::<Vec<_>>().join(" \\\n")
}

fn zsh() -> String {
    let mut text = "#compdef orlop\n# zsh completion of orlop; made by orlop-docs.\n_orlop() {\n    local state line\n    local -a commands\n    commands=(\n".to_owned();
    for command in COMMANDS {
        let _ = writeln!(text, "        '{}:{}'", command.name, zsh_text(command.summary));
    }
    let _ = writeln!(
        text,
        "    )\n    _arguments -C \\\n{} \\\n        '1:command:->command' '*::argument:->argument'\n    case $state in\n    command) _describe command commands ;;\n    argument)\n        case $words[1] in",
        zsh_flags(&GLOBAL)
    );
    for command in COMMANDS {
        let ids =
            if takes_id(command) { " \\\n        '1:id:($(orlop list --quiet 2>/dev/null))'" } else { "" };
        // The program that exec runs, and its arguments, are not ours to complete.
        let rest =
            if matches!(command.until, Flags::Until(_)) { " \\\n        '*:argument:_files'" } else { "" };
        let _ = writeln!(
            text,
            "        {})\n        _arguments \\\n{}{ids}{rest} ;;",
            command.name,
            zsh_flags(command)
        );
    }
    text.push_str("        esac ;;\n    esac\n}\n_orlop \"$@\"\n");
    text
}

fn fish() -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut text = "# fish completion of orlop; made by orlop-docs.\ncomplete -c orlop -f\n".to_owned();
    let line = |text: &mut String, condition: &str, flag: &Flag| {
        let short = flag.short.map_or_else(String::new, |letter| format!(" -s {letter}"));
        let value = match (flag.value.is_some(), is_path(flag)) {
            (true, true) => " -r -F",
            (true, false) => " -x",
            _ => "",
        };
        let _ = writeln!(
            text,
            "complete -c orlop -n '{condition}' -l {}{short}{value} -d '{}'",
            flag.long,
            quoted(flag.help)
        );
    };
    for flag in flags(&GLOBAL) {
        line(&mut text, "__fish_use_subcommand", flag);
    }
    for command in COMMANDS {
        let _ = writeln!(
            text,
            "complete -c orlop -n __fish_use_subcommand -a {} -d '{}'",
            command.name,
            quoted(command.summary)
        );
        let condition = format!("__fish_seen_subcommand_from {}", command.name);
        for flag in flags(command) {
            line(&mut text, &condition, flag);
        }
        if takes_id(command) {
            let _ =
                writeln!(text, "complete -c orlop -n '{condition}' -a '(orlop list --quiet 2>/dev/null)'");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command and every flag is in each of them: they are made from the tables, and nothing is left out on the way.
    #[test]
    fn nothing_is_left_out() {
        for text in [bash(), zsh(), fish()] {
            for command in COMMANDS {
                assert!(text.contains(command.name), "{}", command.name);
            }
        }
        for command in COMMANDS {
            for flag in flags(command) {
                assert!(
                    page(command).contains(&format!("\\fB\\-\\-{}\\fR", roff(flag.long))),
                    "{}",
                    flag.long
                );
                assert!(
                    bash().contains(&format!("--{}", flag.long))
                        && zsh().contains(&format!("'--{}[", flag.long))
                );
                assert!(fish().contains(&format!(" -l {}", flag.long)));
            }
        }
        assert!(page_of_program().contains("\\-\\-log\\-format"));
    }

    #[test]
    fn roff_takes_nothing_for_a_request() {
        assert_eq!(roff(".x -y \\z\n'q"), "\\&.x \\-y \\ez\n\\&'q");
    }

    /// bash itself reads the one of its own, and completes with it.
    #[test]
    fn bash_completes() {
        let directory = std::env::temp_dir().join(format!("orlop-docs-{}", std::process::id()));
        write_all(&directory).unwrap();
        let script = "source \"$0\"; COMP_WORDS=(orlop --root /x ex); COMP_CWORD=3; _orlop; echo \"${COMPREPLY[*]}\"; \
                      COMP_WORDS=(orlop exec --preserve); COMP_CWORD=2; _orlop; echo \"${COMPREPLY[*]}\"";
        let bash = std::process::Command::new("bash")
            .args(["-c", script])
            .arg(directory.join("completions/orlop.bash"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&bash.stdout), "exec\n--preserve-fds\n", "{bash:?}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

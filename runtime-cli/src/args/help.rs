//! The help texts, made from the same tables as the parser.

use super::{COMMANDS, Command, Flag, GLOBAL, HELP};

const WIDTH: usize = 100;

/// The help of the program: its commands and global flags.
pub fn program_help(program: &str) -> String {
    let mut out =
        format!("{program}: {}\n\nUsage: {program} [FLAGS] COMMAND [FLAGS] [ARGUMENTS]\n\n", GLOBAL.summary);
    out.push_str(GLOBAL.about);
    out.push_str("\n\nCommands:\n");
    let rows: Vec<_> = COMMANDS.iter().map(|command| (command.name.to_owned(), command.summary)).collect();
    columns(&mut out, &rows);
    out.push_str("\nGlobal flags, before the command:\n");
    flags(&mut out, GLOBAL.flags);
    out.push_str(&format!("\nSee {program} COMMAND --help for a command's own flags.\n"));
    out
}

/// The help of one command.
pub fn command_help(program: &str, command: &Command) -> String {
    let path = command.path(program);
    let mut out = format!("{path}: {}\n\nUsage: {path} [FLAGS]", command.summary);
    if !command.operands.is_empty() {
        out.push(' ');
        out.push_str(command.operands);
    }
    out.push_str("\n\n");
    out.push_str(command.about);
    out.push_str("\n\nFlags:\n");
    flags(&mut out, command.flags);
    out
}

fn flags(out: &mut String, flags: &[Flag]) {
    let all = flags.iter().chain([&HELP]);
    let rows: Vec<_> = all.map(|flag| (spelling(flag), flag.help)).collect();
    columns(out, &rows);
}

fn spelling(flag: &Flag) -> String {
    let mut text = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    text.push_str("--");
    text.push_str(flag.long);
    if let Some(value) = flag.value {
        text.push(' ');
        text.push_str(value);
    }
    text
}

/// Two aligned columns; the right one is wrapped at words.
fn columns(out: &mut String, rows: &[(String, &str)]) {
    let left = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 4;
    for (name, text) in rows {
        let mut column = left;
        out.push_str(&format!("  {name:0$}", left - 2));
        for (index, word) in text.split(' ').enumerate() {
            if index > 0 && column + 1 + word.len() > WIDTH {
                out.push_str(&format!("\n{:left$}", ""));
                column = left;
            } else if index > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += word.len();
        }
        out.push('\n');
    }
}

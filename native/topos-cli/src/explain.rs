//! `topos explain`: what an error code means.
//!
//! The compiler's codes are explained in its own tables, the run time's in the table of `topos_error.erl`, which is
//! read as text: one source for the message that a program gets and the one shown here. The codes of this program,
//! `TP0800` to `TP0899`, stand below.

use topos_lang::{codes, diagnostic::Code, syntax};

use crate::failure::Error;

/// The run time's table of errors.
const RUN_TIME: &str = include_str!("../../../erlang/base/topos_error.erl");

/// Code, title, explanation.
const OWN: &[(u16, &str, &str)] = &[
    (
        801,
        "Erlang is not installed",
        "`topos build --emit beam`, `topos run` and `topos demo` need Erlang/OTP 25 or newer, and find it by the \
         program `erl` on the PATH. `topos check` and `topos build --emit erl` work without.",
    ),
    (
        802,
        "topos_partisan is not built",
        "Compiled programs need the Erlang application topos_partisan, which `rebar3 compile` (or `make build`) \
         leaves in `_build/default/lib`. This program looks in the directories above itself, then above the working \
         directory; `--home` or TOPOS_HOME names the place instead.",
    ),
    (
        803,
        "no standard library there",
        "The directory given with `--stdlib` or TOPOS_STDLIB holds no directory `Topos`. Without either, the library \
         next to this program is used, or the one built into it.",
    ),
    (
        804,
        "the compile server failed",
        "A VM turns the generated code into beams. It ended, or refused the code; the message repeats what it said. \
         This is no mistake of the program that was compiled.",
    ),
    (
        805,
        "the compile server is of another release",
        "The built topos_partisan and this program come from different sources. Build both again.",
    ),
    (
        806,
        "a file cannot be read",
        "The message says why. Files are read as UTF-8; a module is looked for next to the program.",
    ),
    (
        807,
        "a file cannot be written or removed",
        "The message says why. `topos build -o DIR` chooses another directory, and `topos clean -o DIR` cleans it.",
    ),
    (
        808,
        "a node's VM cannot be started",
        "The operating system refused to start `erl`: too many processes, no memory, or a damaged installation.",
    ),
    (
        810,
        "the module has another name than its file",
        "Module `A.B` stands in the file `A/B.topos`. Only the program itself, the file named on the command line, \
         may be called as it likes.",
    ),
    (
        811,
        "no such error code",
        "Codes are `TP` and four digits. Up to TP0799 and from TP0900 they are the compiler's, from TP0800 those of \
         this program, from TP1000 the run time's.",
    ),
    (
        812,
        "the host of the nodes is not of this machine",
        "`topos run --host` takes a name or an address that belongs to this machine: the nodes listen there. The \
         default is 127.0.0.1.",
    ),
    (
        813,
        "two files are the same module",
        "Each module of a build has a name of its own: what `module` says, else its path below the directory that is \
         built, `Shop/Cart.topos` is `Shop.Cart`.",
    ),
    (
        815,
        "the node's statistics cannot be had",
        "`topos top` asks the address that `metrics.listen` of the node's configuration names. Nothing answered there \
         within five seconds: the node does not run, serves no statistics, or listens elsewhere.",
    ),
    (
        816,
        "the answer is no node's statistics",
        "Something answered at the address given to `topos top`, but not as a node of this release does.",
    ),
    (
        814,
        "an interface in the cache cannot be read",
        "The directory that `topos build --cache` names holds files of this program alone. It can be removed at any \
         time: the next build makes it again.",
    ),
    (
        817,
        "there are no tests to run",
        "`topos test` runs the `test` and `property` declarations of the modules it is given, those whose module or \
         title contains the text of `--filter`.",
    ),
    (
        818,
        "an option does not go with the engine",
        "`topos run` has options for simulations, which go with `--engine sim` alone. Real nodes are VMs of this machine, 64 at most; simulated ones \
         may be 10,000.",
    ),
    (
        820,
        "a simulation cannot be run as asked",
        "The message names every parameter of `topos simulate` or `topos graph` that is out of its range, with the range. A full mesh of \
         more than 2,000 nodes is refused, since each node of it knows all others; `topos graph` draws at most 500 nodes.",
    ),
];

/// The explanation of a code, given as `TP0201`, `tp201` or `201`.
pub(crate) fn explain(code: &str) -> Result<String, Error> {
    let digits = code.trim_start_matches(['T', 't']).trim_start_matches(['P', 'p']);
    let number: Option<u16> = digits.parse().ok();
    number.and_then(find).ok_or_else(|| {
        Error::new(
            "TP0811",
            format!("there is no error code {code}"),
            "codes look like TP0201; an error shows its own in brackets",
        )
    })
}

fn find(number: u16) -> Option<String> {
    let heading = |title: &str, text: &str| format!("TP{number:04}: {title}\n\n{}\n", wrap(text));
    if let Some((_, title, text)) = OWN.iter().find(|(code, _, _)| *code == number) {
        return Some(heading(title, text));
    }
    if number >= 1000 {
        return run_time()
            .into_iter()
            .find(|row| row.code == format!("TP{number:04}"))
            .map(|row| heading(&row.message, &format!("An error of the run time. How to mend it: {}.", row.help)));
    }
    compiler(number).map(|(title, text)| heading(title, text))
}

fn compiler(number: u16) -> Option<(&'static str, &'static str)> {
    let code = Code(number);
    let syntax = syntax::codes::explain(code).map(|found| (found.title, found.text));
    syntax.or_else(|| codes::explain(code).map(|found| (found.title, found.text)))
}

struct Row {
    code: String,
    message: String,
    help: String,
}

/// The rows of the table: a code in a binary, and the two strings after it.
fn run_time() -> Vec<Row> {
    let mut rows = Vec::new();
    let table = RUN_TIME.split_once("\nentry(").map_or("", |(_, table)| table);
    for part in table.split("<<\"TP").skip(1) {
        let Some((digits, rest)) = part.split_once("\">>") else { continue };
        let mut strings = rest.split('"').skip(1).step_by(2);
        if let (Some(message), Some(help)) = (strings.next(), strings.next()) {
            rows.push(Row { code: format!("TP{digits}"), message: plain(message), help: plain(help) });
        }
    }
    rows.retain(|row| row.code.len() == 6 && row.code[2..].bytes().all(|byte| byte.is_ascii_digit()));
    rows
}

/// A message of the table without its places for details: `{node}` is `NODE`.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.replace("\\n", " ").chars() {
        match c {
            '{' => inside = true,
            '}' => inside = false,
            c if inside => out.extend(c.to_uppercase()),
            c => out.push(c),
        }
    }
    out
}

/// Paragraphs of at most 80 columns; lines that begin with a blank stay as they are.
fn wrap(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for (i, line) in text.lines().enumerate() {
        if i > 0 {
            out.push('\n');
            column = 0;
        }
        if line.starts_with(' ') {
            out.push_str(line);
            continue;
        }
        for word in line.split_whitespace() {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > 80 {
                out.push('\n');
                column = 0;
            } else if column > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += width;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_run_time_is_found() {
        let rows = run_time();
        assert_eq!(rows.len(), RUN_TIME.matches("\nentry(").count(), "the scanner misses rows of topos_error.erl");
        for row in &rows {
            assert!(find(row.code[2..].parse().unwrap()).is_some(), "{}", row.code);
            assert!(!row.message.is_empty() && !row.help.is_empty(), "{}", row.code);
        }
    }

    #[test]
    fn a_code_has_one_meaning() {
        let mut seen = std::collections::BTreeSet::new();
        let own = OWN.iter().map(|(code, _, _)| format!("TP{code:04}"));
        for code in run_time().into_iter().map(|row| row.code).chain(own) {
            assert!(seen.insert(code.clone()), "{code} stands for two errors");
        }
    }

    #[test]
    fn codes_may_be_shortened() {
        let whole = explain("TP1007").unwrap();
        assert_eq!(explain("1007").unwrap(), whole);
        assert_eq!(explain("tp0801").unwrap(), explain("801").unwrap());
        assert!(whole.starts_with("TP1007: NODE did not answer"), "{whole}");
    }

    #[test]
    fn unknown_codes_are_errors() {
        for code in ["TP0000", "TP9999", "99999999", "", "TP", "x", "TP-1"] {
            assert!(explain(code).is_err(), "{code}");
        }
    }

    #[test]
    fn lines_are_short() {
        for number in 0..2000 {
            let text = find(number).unwrap_or_default();
            assert!(text.lines().skip(1).all(|line| line.chars().count() <= 80 || line.starts_with(' ')), "{text}");
        }
    }
}

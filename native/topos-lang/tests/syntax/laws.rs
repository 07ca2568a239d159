//! Laws of the front end: it loses no byte, it never panics, it takes time linear in the source.

use crate::guide::blocks;
use proptest::prelude::*;
use std::time::{Duration, Instant};
use topos_lang::diagnostic::{Diagnostic, Span};
use topos_lang::syntax::{parse, parse_bytes, parse_with, Limits, Parse};

/// Far above what a debug build needs for any source in here, far below what quadratic time would take.
const BOUND: Duration = Duration::from_secs(30);

/// Parses, and checks what holds for every source.
fn checked(source: &str) -> Parse {
    let begun = Instant::now();
    let parse = parse(source);
    assert!(begun.elapsed() < BOUND, "took {:?} for {} bytes", begun.elapsed(), source.len());
    let text: String = parse.tokens.texts(source).map(|(_, text)| text).collect();
    assert_eq!(text, source, "the tokens do not give the source back");
    let mut end = 0;
    for token in parse.tokens.as_slice() {
        assert_eq!(token.span.start, end, "a gap before {token:?}");
        end = token.span.end;
    }
    for diagnostic in &parse.diagnostics {
        check_diagnostic(source, diagnostic);
    }
    parse
}

fn check_diagnostic(source: &str, diagnostic: &Diagnostic) {
    let labels = std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary);
    for Span { start, end } in labels.map(|label| label.span) {
        let (start, end) = (start as usize, end as usize);
        assert!(start <= end && source.get(start..end).is_some(), "{diagnostic:?} lies outside of the source");
    }
    assert!(!diagnostic.message.is_empty() && !diagnostic.message.ends_with('.'), "{diagnostic:?}");
}

/// Pieces that mean something to the lexer or the parser.
const PIECES: &[&str] = &[
    "flow",
    "f",
    "x",
    "Foo",
    "P.T",
    "_",
    "=",
    ":",
    "::",
    ":=",
    "<-",
    "->",
    "=>",
    "==",
    "!=",
    "<",
    ">=",
    "<>",
    "|",
    "||",
    "|>",
    "&&",
    "+",
    "++",
    "-",
    "*",
    "/",
    "%",
    "\\",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "!",
    "?",
    "@",
    "\n",
    "\n",
    "\n  ",
    "\r\n",
    " ",
    "\t",
    "1",
    "1.5",
    "30s",
    "1e",
    "\"a\"",
    "\"",
    "f\"",
    "f\"{x}\"",
    "{-",
    "-}",
    "-- c\n",
    "--- d\n",
    "match",
    "if",
    "then",
    "else",
    "let",
    "in",
    "do",
    "end",
    "of",
    "when",
    "case",
    "module",
    "import",
    "export",
    "as",
    "qualified",
    "private",
    "trait",
    "instance",
    "extends",
    "forall",
    "actor",
    "supervisor",
    "effect",
    "operation",
    "perform",
    "try",
    "with",
    "for",
    "loop",
    "return",
    "fn",
    "type",
    "handler",
    "state",
    "config",
    "impl",
    "test",
    "property",
    "session",
    "protocol",
    "extern",
    "atomic",
    "choice",
    "rec",
    "offer",
    "select",
    "dual",
    "via",
    "deriving",
    "where",
    "true",
    "\u{e9}",
    ";",
    "#",
    "\u{1F600}",
    "\0",
    "\u{feff}",
    "'",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec((prop::sample::select(PIECES), any::<bool>()), 0..120).prop_map(|pieces| {
        pieces.into_iter().map(|(piece, blank)| if blank { format!("{piece} ") } else { piece.to_owned() }).collect()
    })
}

/// What is done to a block of the guide: at a position, tokens are deleted, doubled, swapped or put in.
fn mutations() -> impl Strategy<Value = (usize, Vec<(usize, u8, &'static str)>)> {
    (0..9_usize, prop::collection::vec((any::<usize>(), 0..4_u8, prop::sample::select(PIECES)), 1..6))
}

fn mutate(source: &str, edits: &[(usize, u8, &str)]) -> String {
    let parse = parse(source);
    let mut tokens: Vec<&str> = parse.tokens.texts(source).map(|(_, text)| text).collect();
    for (at, how, piece) in edits {
        let at = at % tokens.len();
        match how {
            0 => {
                tokens.remove(at);
            }
            1 => tokens.insert(at, tokens[at]),
            2 => {
                let other = at.saturating_sub(2);
                tokens.swap(at, other);
            }
            _ => tokens.insert(at, piece),
        }
        if tokens.is_empty() {
            break;
        }
    }
    tokens.concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn soups_of_tokens_are_survived(source in soup()) {
        checked(&source);
    }

    #[test]
    fn any_text_is_survived(source in ".{0,200}") {
        checked(&source);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let parse = parse_bytes(&bytes);
        prop_assert_eq!(std::str::from_utf8(&bytes).is_err(), parse.diagnostics.iter().any(|d| d.code.0 == 1));
    }

    #[test]
    fn mutated_blocks_of_the_guide_are_survived((block, edits) in mutations()) {
        let (_, source) = &blocks()[block];
        checked(&mutate(source, &edits));
    }

    /// A mistake in one declaration says nothing about the next one.
    #[test]
    fn a_mistake_stays_in_its_declaration(soup in soup()) {
        let soup = soup.replace(['\n', '\r', '"'], " ").replace("{-", " ").replace("-}", " ");
        let source = format!("flow broken = {soup}\nflow whole(x) = x + 1\n");
        let parse = checked(&source);
        let last = parse.module.decls.last().expect("a declaration");
        prop_assert!(matches!(&last.kind, topos_lang::syntax::ast::DeclKind::Flow(flow) if flow.name.name == "whole"));
        let whole = u32::try_from(source.find("flow whole").expect("it is there")).expect("short");
        let codes: Vec<_> = parse.diagnostics.iter().filter(|d| d.primary.span.start > whole).collect();
        prop_assert!(codes.is_empty(), "{codes:?}");
    }
}

/// Long and deep sources, each of which breaks a parser that recurses or looks back.
#[test]
fn hostile_sources_take_linear_time_and_little_stack() {
    let n = 200_000;
    let sources = [
        "(".repeat(1_000_000),
        ")".repeat(1_000_000),
        format!("flow f = {}", "(".repeat(n)),
        format!("flow f = {}", "{".repeat(n)),
        format!("flow f = {}", "[".repeat(n)),
        format!("flow f = {}", "{a=".repeat(n / 3)),
        format!("flow f = {}", "{(".repeat(n / 2)),
        format!("flow f = {}", "g {".repeat(n / 3)),
        format!("flow f = {}", "fn(x) -> ".repeat(n / 9)),
        format!("flow f = {}", "\\x -> ".repeat(n / 6)),
        format!("flow f = {}", "- ".repeat(n / 2)),
        format!("flow f = {}", "if x { ".repeat(n / 7)),
        format!("flow f = {}", "if x then ".repeat(n / 10)),
        format!("flow f = {}", "if x { y } else ".repeat(n / 16)),
        format!("flow f = {}", "match x { | y -> ".repeat(n / 17)),
        format!("flow f = {}", "match x of | y -> ".repeat(n / 18)),
        format!("flow f = {}", "let x = ".repeat(n / 8)),
        format!("flow f = {}", "let x = 1 in ".repeat(n / 13)),
        format!("flow f = {}", "x + ".repeat(n / 4)),
        format!("flow f = {}", "x :: ".repeat(n / 5)),
        format!("flow f = {}", "x == ".repeat(n / 5)),
        format!("flow f = {}", "a |> b || c && d == e < g :: h + i * - (".repeat(n / 40)),
        format!("flow f = {}", "x.y".repeat(n / 3)),
        format!("flow f = {}", "x(y)".repeat(n / 4)),
        format!("flow f = x{}", "(y)".repeat(n / 3)),
        format!("flow f = x{}", "[y]".repeat(n / 3)),
        format!("flow f = {}", "x ".repeat(n / 2)),
        format!("flow f = {}", "x\n".repeat(n / 2)),
        format!("flow f = {}", "x,".repeat(n / 2)),
        format!("flow f = {}", "f\"{".repeat(n / 3)),
        format!("flow f = \"{}\"", "\\q".repeat(n / 2)),
        format!("flow f {} = 1", "(".repeat(n)),
        format!("flow f : {}", "(".repeat(n)),
        format!("flow f : {}", "A -> ".repeat(n / 5)),
        format!("flow f : {}", "{a:".repeat(n / 3)),
        format!("flow f = match x {{ {} }}", "| A -> 1 ".repeat(n / 9)),
        format!("flow f = match x {{ {} }}", "| ".repeat(n / 2)),
        format!("flow f = match x {{ | {} }}", "A :: ".repeat(n / 5)),
        format!("flow f = match x {{ | {} }}", "A(".repeat(n / 2)),
        format!("type T = {}", "| A ".repeat(n / 4)),
        format!("session S = {}", "!A -> ".repeat(n / 6)),
        format!("session S = {}", "offer { a -> ".repeat(n / 13)),
        format!("protocol P (a @ local) = {}", "choice at a { | b -> ".repeat(n / 21)),
        format!("protocol P (a @ local) = {}", "rec X. ".repeat(n / 7)),
        format!("trait T a where {}", "x = ".repeat(n / 4)),
        format!("impl T {{ {} }}", "x : A = b\n".repeat(n / 10)),
        format!("handler h : Handler(E) = {{ {} }}", "x(a) => b\n".repeat(n / 10)),
        format!("flow f = {}", "p ! ".repeat(n / 4)),
        format!("flow f = {}", "p ? ".repeat(n / 4)),
        format!("flow f = {}", "p ? q after ".repeat(n / 12)),
        format!("flow f = {}", "receive { | x -> ".repeat(n / 17)),
        format!("flow f = {}", "receive { after ".repeat(n / 16)),
        format!("flow f = receive {{ {} }}", "after 1s -> x\n".repeat(n / 14)),
        format!("flow f = {}", "try ".repeat(n / 4)),
        format!("flow f = {}", "try x with { | y -> ".repeat(n / 20)),
        format!("flow f = {}", "try x with { op() => ".repeat(n / 21)),
        "flow ".repeat(n / 5),
        "flow f = (\n".repeat(n / 11),
        "{-".repeat(n / 2),
        "import A\n".repeat(n / 9),
        "\"\n".repeat(n / 2),
        "x ".repeat(n / 2),
        "-".repeat(n),
    ];
    // The stack of a test thread, which is smaller than any the compiler runs on.
    let work = move || {
        for source in &sources {
            let parse = checked(source);
            assert!(parse.diagnostics.len() <= Limits::default().max_diagnostics + 1);
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread").join().expect("no panic");
}

#[test]
fn nesting_up_to_the_limit_is_accepted_and_one_error_beyond_it() {
    let nested = |n: usize| format!("flow f = {}1{}\nflow g = )\n", "(".repeat(n), ")".repeat(n));
    assert_eq!(checked(&nested(150)).diagnostics.len(), 1);
    let codes: Vec<u16> = checked(&nested(300)).diagnostics.iter().map(|d| d.code.0).collect();
    assert_eq!(codes, [10, 17], "one error for the depth, and the next declaration is read");
}

#[test]
fn sources_over_the_limit_are_refused_at_once() {
    let limits = Limits { max_source_bytes: 10, ..Limits::default() };
    let source = "flow f = 1\n";
    let parse = parse_with(source, &limits);
    assert_eq!(parse.diagnostics.iter().map(|d| d.code.0).collect::<Vec<_>>(), [2]);
    assert_eq!(parse.tokens.texts(source).map(|(_, text)| text).collect::<String>(), source);
    let line = " ".repeat(100 << 20);
    assert_eq!(parse_with(&line, &Limits::default()).diagnostics[0].code.0, 2);
}

#[test]
fn many_errors_are_cut_short_with_a_word() {
    let limits = Limits { max_diagnostics: 5, ..Limits::default() };
    let parse = parse_with(&"flow f = )\n".repeat(100), &limits);
    assert_eq!(parse.diagnostics.len(), 6);
    assert_eq!(parse.diagnostics[5].code.0, 11);
}

#[test]
fn bytes_that_are_not_utf8_are_one_diagnostic() {
    let parse = parse_bytes(b"flow f = \"\xff\"");
    assert_eq!(parse.diagnostics.len(), 1);
    assert_eq!(parse.diagnostics[0].code.0, 1);
    assert_eq!(parse.diagnostics[0].primary.span, Span::new(10, 11));
}

/// A bracket that is missing anywhere in the guide is one error, not a page of them.
#[test]
fn a_missing_bracket_is_one_error() {
    let (mut deletions, mut several) = (0, 0);
    for (name, source) in blocks() {
        let parse = parse(&source);
        for token in parse.tokens.as_slice() {
            let (start, end) = (token.span.start as usize, token.span.end as usize);
            if !matches!(&source[start..end], "(" | ")" | "[" | "]" | "{" | "}") {
                continue;
            }
            let broken = format!("{}{}", &source[..start], &source[end..]);
            let count = checked(&broken).diagnostics.len();
            assert!(count <= 3, "{name}: {count} errors without the bracket at {start}");
            deletions += 1;
            several += usize::from(count > 1);
        }
    }
    assert!(deletions > 700, "the guide has {deletions} brackets");
    assert!(several <= 5, "{several} of {deletions} missing brackets gave more than one error");
}

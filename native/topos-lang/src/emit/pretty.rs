//! Abstract format as Erlang text that a person reads: what `topos build --emit erl` prints.
//!
//! The text compiles to the same code as the forms; only the `-file` attribute is a comment, because the lines of this
//! text are not the lines of the `.topos` file.

use super::doc::{concat, group, join, nest, text, Doc};
use super::forms::{Callee, Clause, Expr, Form, Kind, Segment, Type};

const WIDTH: usize = 110;

/// The text of a module.
pub(super) fn print(forms: &[Form]) -> String {
    let mut out = String::new();
    let mut after_spec = false;
    for form in forms {
        let doc = match form {
            Form::File(path) => text(format!("%% from {}", path.replace(['\n', '\r'], " "))),
            Form::Module(name) => text(format!("-module({}).", atom(name))),
            Form::Export(functions) => {
                let items = functions.iter().map(|(f, n)| text(format!("{}/{n}", atom(f)))).collect();
                concat(vec![text("-export("), bracketed("[", items, "]"), text(").")])
            }
            Form::Compile(options) => text(format!("-compile([{}]).", options.join(", "))),
            Form::Spec { name, params, returns, .. } => concat(vec![
                text(format!("-spec {}", atom(name))),
                bracketed("(", params.iter().map(type_).collect(), ")"),
                text(" -> "),
                type_(returns),
                text("."),
            ]),
            Form::Function { name, clause, .. } => {
                concat(vec![text(atom(name)), clause_(clause, true, true), text(".")])
            }
        };
        let is_function = matches!(form, Form::Function { .. } | Form::Spec { .. });
        if is_function && !after_spec {
            out.push('\n');
        }
        after_spec = matches!(form, Form::Spec { .. });
        out.push_str(&doc.render(WIDTH));
        out.push('\n');
    }
    out
}

fn bracketed(open: &str, items: Vec<Doc>, close: &str) -> Doc {
    if items.is_empty() {
        return text(format!("{open}{close}"));
    }
    let items = join(items, &concat(vec![text(","), Doc::Line]));
    group(concat(vec![text(open), nest(concat(vec![Doc::SoftLine, items])), Doc::SoftLine, text(close)]))
}

fn type_(t: &Type) -> Doc {
    match t {
        Type::Named(name, args) => concat(vec![text(*name), bracketed("(", args.iter().map(type_).collect(), ")")]),
        Type::Atom(name) => text(atom(name)),
        Type::AnyMap => text("map()"),
        Type::Tuple(elements) => bracketed("{", elements.iter().map(type_).collect(), "}"),
        Type::Record(fields) => {
            let fields = fields.iter().map(|(f, t)| concat(vec![text(format!("{} := ", atom(f))), type_(t)]));
            bracketed("#{", fields.collect(), "}")
        }
        Type::Map(key, value) => concat(vec![text("#{"), type_(key), text(" => "), type_(value), text("}")]),
        Type::Union(members) => group(join(members.iter().map(type_).collect(), &concat(vec![Doc::Line, text("| ")]))),
    }
}

/// `(patterns) when guard -> body`; `tall` puts the body on lines of its own always.
fn clause_(clause: &Clause, parentheses: bool, tall: bool) -> Doc {
    let patterns: Vec<Doc> = clause.patterns.iter().map(|p| expr(p, 0)).collect();
    let head = if parentheses { bracketed("(", patterns, ")") } else { concat(patterns) };
    let guard = match &clause.guard {
        Some(guard) => concat(vec![text(" when "), expr(guard, 0)]),
        None => Doc::Nothing,
    };
    let line = if tall || clause.body.len() > 1 { Doc::HardLine } else { Doc::Line };
    concat(vec![head, guard, text(" ->"), nest(concat(vec![line, body(&clause.body)]))])
}

fn body(exprs: &[Expr]) -> Doc {
    join(exprs.iter().map(|e| expr(e, 0)).collect(), &concat(vec![text(","), Doc::HardLine]))
}

/// Binding strength of operators, as in the Erlang reference manual, loosest first: (own, left operand, right operand).
fn strength(op: &str) -> (u8, u8, u8) {
    match op {
        "orelse" => (2, 3, 2),
        "andalso" => (3, 4, 3),
        "=:=" | "=/=" | "<" | "=<" | ">" | ">=" | "/=" => (4, 5, 5),
        "++" => (5, 6, 5),
        "+" | "-" => (6, 6, 7),
        _ => (7, 7, 8),
    }
}

const MATCH: u8 = 1;
const UNARY: u8 = 8;
/// Operands of calls, map updates, binary segments: anything but a primary stands in parentheses.
const PRIMARY: u8 = 10;

fn expr(e: &Expr, around: u8) -> Doc {
    let (own, doc) = match &e.kind {
        Kind::Var(name) => (PRIMARY, text(&**name)),
        Kind::Any => (PRIMARY, text("_")),
        Kind::Atom(name) => (PRIMARY, text(atom(name))),
        Kind::Integer(digits) => (PRIMARY, text(digits.clone())),
        Kind::Float(value) => (PRIMARY, text(float(*value))),
        Kind::Binary(segments) => (PRIMARY, bracketed("<<", segments.iter().map(segment).collect(), ">>")),
        Kind::Tuple(elements) => (PRIMARY, bracketed("{", elements.iter().map(|e| expr(e, 0)).collect(), "}")),
        Kind::List(elements, None) => (PRIMARY, bracketed("[", elements.iter().map(|e| expr(e, 0)).collect(), "]")),
        Kind::List(elements, Some(tail)) if elements.is_empty() => return expr(tail, around),
        Kind::List(elements, Some(tail)) => {
            let mut items: Vec<Doc> = elements.iter().map(|e| expr(e, 0)).collect();
            if let Some(last) = items.pop() {
                items.push(concat(vec![last, text(" | "), expr(tail, 0)]));
            }
            (PRIMARY, bracketed("[", items, "]"))
        }
        Kind::Map(entries) => (PRIMARY, fields("#{", entries, "=>")),
        Kind::MapPattern(entries) => (PRIMARY, fields("#{", entries, ":=")),
        Kind::MapUpdate(base, entries) => {
            // `#` binds its left side: a call there needs parentheses too.
            let base = if base.is_atomic() { expr(base, 0) } else { parenthesised(expr(base, 0)) };
            (PRIMARY, concat(vec![base, fields("#{", entries, ":=")]))
        }
        Kind::Call(callee, args) => {
            let callee = match callee {
                Callee::Local(name) => text(atom(name)),
                Callee::Remote(module, function) => {
                    concat(vec![expr(module, PRIMARY), text(":"), expr(function, PRIMARY)])
                }
                Callee::Value(f) if f.is_atomic() => expr(f, PRIMARY),
                Callee::Value(f) => parenthesised(expr(f, 0)),
            };
            (PRIMARY, concat(vec![callee, bracketed("(", args.iter().map(|a| expr(a, 0)).collect(), ")")]))
        }
        Kind::Fun(clause) => {
            (PRIMARY, group(concat(vec![text("fun"), clause_(clause, true, false), Doc::Line, text("end")])))
        }
        Kind::LocalFun(name, arity) => (PRIMARY, text(format!("fun {}/{arity}", atom(name)))),
        Kind::RemoteFun(module, name, arity) => (PRIMARY, text(format!("fun {}:{}/{arity}", atom(module), atom(name)))),
        Kind::Case(scrutinee, clauses) => {
            let clauses = clauses.iter().map(|c| group(clause_(c, false, false))).collect();
            let doc = concat(vec![
                text("case "),
                expr(scrutinee, 0),
                text(" of"),
                nest(concat(vec![Doc::HardLine, join(clauses, &concat(vec![text(";"), Doc::HardLine]))])),
                Doc::HardLine,
                text("end"),
            ]);
            (PRIMARY, doc)
        }
        Kind::Block(exprs) => {
            let inner = nest(concat(vec![Doc::HardLine, body(exprs)]));
            (PRIMARY, concat(vec![text("begin"), inner, Doc::HardLine, text("end")]))
        }
        Kind::Match(pattern, value) => (MATCH, concat(vec![expr(pattern, MATCH + 1), text(" = "), expr(value, MATCH)])),
        Kind::Binary2(op, left, right) => {
            let (own, l, r) = strength(op);
            let rest = nest(concat(vec![Doc::Line, text(format!("{op} ")), expr(right, r)]));
            (own, group(concat(vec![expr(left, l), rest])))
        }
        Kind::Unary("-", operand) => (UNARY, concat(vec![text("-"), expr(operand, UNARY + 1)])),
        Kind::Unary(op, operand) => (UNARY, concat(vec![text(format!("{op} ")), expr(operand, UNARY + 1)])),
    };
    if own < around {
        parenthesised(doc)
    } else {
        doc
    }
}

fn parenthesised(doc: Doc) -> Doc {
    concat(vec![text("("), doc, text(")")])
}

fn fields(open: &str, entries: &[(Expr, Expr)], arrow: &str) -> Doc {
    let item = |(k, v): &(Expr, Expr)| concat(vec![expr(k, 0), text(format!(" {arrow} ")), expr(v, 0)]);
    bracketed(open, entries.iter().map(item).collect(), "}")
}

fn segment(segment: &Segment) -> Doc {
    match segment {
        Segment::Text(s) => text(format!("{}/utf8", quoted(s, '"'))),
        Segment::Value(e @ Expr { kind: Kind::Var(_), .. }) => concat(vec![expr(e, PRIMARY), text("/binary")]),
        Segment::Value(e) => concat(vec![parenthesised(expr(e, 0)), text("/binary")]),
    }
}

/// The shortest text that reads back as the same number; Erlang wants a point and a digit on both sides.
fn float(value: f64) -> String {
    let s = format!("{value:e}");
    match s.split_once('e') {
        Some((mantissa, exponent)) => {
            let mantissa = if mantissa.contains('.') { mantissa.to_string() } else { format!("{mantissa}.0") };
            if exponent == "0" {
                mantissa
            } else {
                format!("{mantissa}e{exponent}")
            }
        }
        None => s,
    }
}

/// An atom, quoted where Erlang needs it.
pub(super) fn atom(name: &str) -> String {
    const RESERVED: [&str; 28] = [
        "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond",
        "div", "else", "end", "fun", "if", "let", "maybe", "not", "of", "or", "orelse", "receive", "rem", "try",
        "when",
    ];
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@')
        && name != "xor"
        && !RESERVED.contains(&name);
    if plain {
        name.to_string()
    } else {
        quoted(name, '\'')
    }
}

fn quoted(s: &str, quote: char) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push(quote);
    for c in s.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() || ('\u{80}'..'\u{a0}').contains(&c) => out.push_str(&format!("\\x{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}
